"""Compiled functions and loops inside them, the same on every backend."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache, partial
from typing import Any

from ml4ir_losses.core.lazy import Tensor, keras, ops

State = tuple[Tensor, ...]

_FEW = 2**13  # numbers; so few are not worth a compilation
_tracing_kernel: ContextVar[bool] = ContextVar("tracing_kernel", default=False)

_WIDTHS = sorted(part * 2**k for part in (2, 3) for k in range(2, 30 - part // 3))  # 8, 12, 16, 24, ... 2^30


@lru_cache(maxsize=512)
def compiled(function: Callable[..., Any], *fixed: Any) -> Callable[..., Any]:
    """function(*fixed, *tensors) compiled by XLA, also where the user did not ask for it; torch runs it as it is.

    Cached by the function and its fixed arguments, so that they must be hashable and compare by value; a direct call
    then compiles once per shape.
    """

    return as_kernel(partial(function, *fixed))


def as_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of tensors compiled by XLA, as `compiled` does it, but not kept."""

    def bound(*tensors: Any) -> Any:
        with _kernel_tracing():
            return function(*tensors)

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(bound, jit_compile=True, autograph=False, reduce_retracing=True)  # type: ignore[no-any-return]
    if backend == "jax":
        import jax

        return jax.jit(bound)  # type: ignore[no-any-return]
    return bound


@contextmanager
def _kernel_tracing() -> Iterator[None]:
    token = _tracing_kernel.set(True)
    try:
        yield
    finally:
        _tracing_kernel.reset(token)


def has_compiler() -> bool:
    """True where what is written here goes through a compiler, for which a chain of cheap operations is one loop."""
    return keras.backend.backend() == "jax" or _tracing_kernel.get()


def compiles_once(x: Tensor) -> bool:
    """True where a compilation serves every step, and is worth it: TensorFlow, no accelerator, a graph being traced,
    in which x is not small and of a known shape."""
    if keras.backend.backend() != "tensorflow" or has_accelerator():
        return False
    import tensorflow as tf

    return not tf.executing_eagerly() and x.shape.is_fully_defined() and math.prod(x.shape) >= _FEW


def of_few_widths(x: Tensor, filler: float, width: Any) -> Tensor:
    """x [B, N], filled up to one of few widths where `width`, N, is a tensor: known only when the graph runs.

    A compiled function is compiled for every width that it meets; of a width that is known no other one will come.
    What goes together takes one `width`, as the shape of some of it may be known, and that of some not.
    """
    if isinstance(width, int):
        return x
    widths = ops.convert_to_tensor(_WIDTHS, dtype="int32")
    more = ops.min(ops.where(widths >= width, widths, _WIDTHS[-1])) - width
    return ops.concatenate([x, ops.zeros((ops.shape(x)[0], more), dtype=x.dtype) + filler], axis=1)


def loop(step: Callable[..., State], start: Any, stop: Any, state: State) -> State:
    """state = step(index, *state) for index = start .. stop - 1; no gradient. The bounds may be tensors.

    Not `ops.fori_loop`: TensorFlow's runs ten steps at a time where it can, with the memory of ten.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        def body(index: Tensor, *state: Tensor) -> State:
            return (index + 1, *step(index, *state))

        return tuple(tf.while_loop(lambda index, *_: index < stop, body, (start, *state), parallel_iterations=1)[1:])
    if backend == "jax":
        import jax

        return tuple(jax.lax.fori_loop(start, stop, lambda index, state: tuple(step(index, *state)), tuple(state)))
    for index in range(int(start), int(stop)):
        state = step(index, *state)
    return tuple(state)


def whole(number: Tensor) -> Any:
    """A whole number as a bound of `loop`: on torch, which runs loops in Python, a Python number."""
    return int(number) if keras.backend.backend() == "torch" else number


@contextmanager
def exact_products() -> Iterator[None]:
    """Matrix products of float32 in float32: JAX rounds their factors to 10 bits on accelerators."""
    if keras.backend.backend() != "jax":
        yield
        return
    import jax

    with jax.default_matmul_precision("highest"):
        yield


@lru_cache(maxsize=1)
def has_accelerator() -> bool:
    """True where the backend sees more than processors."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return any(device.device_type != "CPU" for device in tf.config.list_physical_devices())
    if backend == "jax":
        import jax

        return bool(jax.default_backend() != "cpu")
    import torch

    return bool(torch.cuda.is_available())
