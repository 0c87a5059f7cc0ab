"""Differences between TensorFlow, JAX and torch, one named helper for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from ml4ir_losses.core.lazy import Tensor, keras, ops

State = tuple[Tensor, ...]

_SQUARE_IN_INT32 = 46340  # the largest number whose square is an int32

_inside_kernel: ContextVar[bool] = ContextVar("inside_kernel", default=False)
_portable: ContextVar[bool] = ContextVar("portable", default=False)


def is_backend(name: str) -> bool:
    """True if Keras runs on `tensorflow`, `jax` or `torch`."""
    return bool(keras.backend.backend() == name)


@lru_cache(maxsize=1)
def has_accelerator() -> bool:
    """True where the backend sees a device other than the CPU."""
    if is_backend("tensorflow"):
        import tensorflow as tf

        return any(device.device_type != "CPU" for device in tf.config.list_physical_devices())
    if is_backend("jax"):
        import jax

        return bool(jax.default_backend() != "cpu")
    import torch

    return bool(torch.cuda.is_available())


# Compilation and tracing


def compiled_by_xla(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of tensors compiled by XLA, whether or not the caller is; on torch the function itself."""

    def traced(*tensors: Any) -> Any:
        token = _inside_kernel.set(True)
        try:
            return function(*tensors)
        finally:
            _inside_kernel.reset(token)

    if is_backend("tensorflow"):
        import tensorflow as tf

        return tf.function(traced, jit_compile=True, autograph=False, reduce_retracing=True)  # type: ignore[no-any-return]
    if is_backend("jax"):
        import jax

        return jax.jit(traced)  # type: ignore[no-any-return]
    return traced


def is_compiled() -> bool:
    """True in code that XLA certainly compiles, which fuses elementwise operations into one loop."""
    return is_backend("jax") or _inside_kernel.get()


@contextmanager
def portable_operations() -> Iterator[None]:
    """Inside, models use only operations that the formats of other runtimes have, even where others are faster."""
    token = _portable.set(True)
    try:
        yield
    finally:
        _portable.reset(token)


def is_portable() -> bool:
    """True inside `portable_operations`: no branches, no selection of rows, no inverse of a permutation."""
    return _portable.get()


def is_eager(x: Tensor) -> bool:
    """True in eager execution; False while a graph is traced."""
    if is_backend("tensorflow"):
        import tensorflow as tf

        return bool(tf.executing_eagerly())
    if is_backend("jax"):
        import jax

        return not isinstance(x, jax.core.Tracer)
    return True


def without_autograph(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, excluded from TensorFlow's AutoGraph, whose rewriting takes seconds and is not needed here."""
    if not is_backend("tensorflow"):
        return function
    import tensorflow as tf

    return tf.autograph.experimental.do_not_convert(function)  # type: ignore[no-any-return]


def either(condition: Tensor, if_true: Callable[[], State], if_false: Callable[[], State]) -> State:
    """The result of one of two functions, of equal shapes, by a boolean scalar."""
    if is_backend("torch") or is_eager(condition):
        return if_true() if bool(condition) else if_false()
    if is_backend("jax"):
        import jax

        return tuple(jax.lax.cond(condition, lambda: tuple(if_true()), lambda: tuple(if_false())))
    import tensorflow as tf

    return tuple(tf.cond(condition, lambda: tuple(if_true()), lambda: tuple(if_false())))


# Gradients


def detached(x: Tensor) -> Tensor:
    """x for the body of a custom gradient, where TensorFlow's tapes would record and keep every intermediate."""
    if not is_backend("tensorflow"):
        return x
    # Not `stop_gradient`, which tapes record; tapes do not follow integers.
    return bitcast(bitcast(x, "int64" if keras.backend.standardize_dtype(x.dtype) == "float64" else "int32"), x.dtype)


def no_slope(x: Tensor) -> Tensor | None:
    """The gradient of a constant argument of a custom gradient: zeros for JAX, None for the others."""
    return ops.zeros_like(x) if is_backend("jax") else None


@contextmanager
def without_gradient() -> Iterator[None]:
    """Inside, torch records no operations; the other backends record only where they are told to."""
    if not is_backend("torch"):
        yield
        return
    import torch

    with torch.no_grad():
        yield


@contextmanager
def once_there(nest: Any) -> Iterator[None]:
    """Inside, TensorFlow runs an operation only once all tensors of a nest are there; none if one of them fails."""
    if not is_backend("tensorflow"):
        yield
        return
    import tensorflow as tf

    with tf.control_dependencies([x for x in tf.nest.flatten(nest) if x is not None]):
        yield


def value_and_gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """function(x), [B], and d Σ function(x) / dx."""
    if is_backend("tensorflow"):
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            value = function(x)
        slope = tape.gradient(value, x)
        slope.set_shape(x.shape)  # loop states must keep their static shape
        return value, slope
    if is_backend("jax"):
        import jax

        value, pull_back = jax.vjp(function, x)
        return value, pull_back(ops.ones_like(value))[0]
    import torch

    with torch.enable_grad():
        x = x.detach().requires_grad_()
        value = function(x)
        slope = torch.autograd.grad(value.sum(), x)[0]
    return value.detach(), slope


# Loops


def loop(step: Callable[..., State], start: Any, stop: Any, state: State) -> State:
    """state = step(index, *state) for index = start .. stop - 1; no gradient. The bounds may be tensors.

    Not `ops.fori_loop`, of which TensorFlow runs up to ten iterations in parallel, with ten times the memory.
    """
    if is_backend("tensorflow"):
        import tensorflow as tf

        def body(index: Tensor, *state: Tensor) -> State:
            return (index + 1, *step(index, *state))

        return tuple(tf.while_loop(lambda index, *_: index < stop, body, (start, *state), parallel_iterations=1)[1:])
    if is_backend("jax"):
        import jax

        return tuple(jax.lax.fori_loop(start, stop, lambda index, state: tuple(step(index, *state)), tuple(state)))
    for index in range(int(start), int(stop)):
        state = step(index, *state)
    return tuple(state)


def scan_blocks(
    step: Callable[..., tuple[State, Tensor]], blocks: State, like: Tensor, *carry: Tensor
) -> tuple[State, Tensor]:
    """carry, output = step(carry, block b of each tensor) for b = 0, 1, ...; the final carry and the stacked outputs.

    Only inside a custom gradient, or where no gradient is needed. `like` has the dtype and shape of an output.
    """
    if blocks[0].shape[0] == 1:
        carry, output = step(carry, *(x[0] for x in blocks))
        return carry, output[None]
    if is_backend("tensorflow"):
        import tensorflow as tf

        count = tf.shape(blocks[0])[0]

        def body(index: Tensor, outputs: Any, carry: State) -> tuple[Tensor, Any, State]:
            carry, output = step(carry, *(x[index] for x in blocks))
            return index + 1, outputs.write(index, output), carry

        outputs = tf.TensorArray(like.dtype, count, element_shape=like.shape)
        state = (0, outputs, tuple(carry))
        _, outputs, carry = tf.while_loop(lambda index, *_: index < count, body, state, parallel_iterations=1)
        return carry, outputs.stack()
    if is_backend("jax"):
        import jax

        last, outputs = jax.lax.scan(lambda carry, block: step(carry, *block), carry, blocks)
        return last, outputs
    import torch

    collected = []
    for index in range(blocks[0].shape[0]):
        carry, output = step(carry, *(x[index] for x in blocks))
        collected.append(output)
    return carry, torch.stack(collected)


# Single operations


@contextmanager
def exact_products() -> Iterator[None]:
    """float32 matrix products in full precision: on accelerators JAX rounds their factors to 10 bits."""
    if not is_backend("jax"):
        yield
        return
    import jax

    with jax.default_matmul_precision("highest"):
        yield


def exact_product(x: Tensor, y: Tensor) -> Tensor:
    """x @ y in the full precision of its dtype, on accelerators too.

    All dimensions but the last two must be equal: where it broadcasts them, TensorFlow 2.21 with oneDNN on the CPU
    gives wrong numbers and writes beyond its memory.
    """
    if is_backend("tensorflow") and has_accelerator():  # no other way to tell TensorFlow so for one product
        return ops.sum(x[..., :, :, None] * y[..., None, :, :], axis=-2)
    with exact_products():
        return x @ y


def has_slow_selects() -> bool:
    """True where comparisons and `where` take ten times as long as arithmetic: torch."""
    return is_backend("torch")


def nan_to_zero(x: Tensor, in_place: bool = False) -> Tensor:
    """x on torch, but 0 where it is NaN, in one pass; `in_place` saves the memory of a copy."""
    function = x.nan_to_num_ if in_place else x.nan_to_num
    return function(nan=0.0, posinf=float("inf"), neginf=-float("inf"))


def bitcast(x: Tensor, dtype: Any) -> Tensor:
    """The bits of x as another dtype of the same size."""
    if not is_backend("tensorflow"):
        return ops.view(x, dtype=dtype)
    import tensorflow as tf

    return tf.bitcast(x, dtype)  # `ops.view` needs a static width


_BLOCK = 32  # places of a block of `cumulative_sum`


def cumulative_sum(x: Tensor, reverse: bool = False) -> Tensor:
    """Inclusive cumulative sum of finite x [B, N] along the rows, or from their ends.

    `ops.cumsum` narrows float64 on torch.
    """
    if is_backend("torch"):
        return x.flip(-1).cumsum(-1).flip(-1) if reverse else x.cumsum(-1)
    if is_backend("jax"):
        import jax

        return jax.lax.cumsum(x, axis=1, reverse=reverse)
    import tensorflow as tf

    if has_accelerator():
        return tf.cumsum(x, axis=1, reverse=reverse)
    # On the CPU products with a triangular matrix take a fifth of the time of `cumsum`.
    rows, size = tf.shape(x)[0], tf.shape(x)[1]
    blocks = -(-size // _BLOCK)
    padded = tf.reshape(tf.pad(x, [[0, 0], [0, blocks * _BLOCK - size]]), (-1, _BLOCK))
    triangle = tf.linalg.band_part(tf.ones((_BLOCK, _BLOCK), x.dtype), -1 if reverse else 0, 0 if reverse else -1)
    inside = tf.reshape(tf.matmul(padded, triangle), (rows, blocks, _BLOCK))
    before = tf.cumsum(inside[:, :, 0 if reverse else -1], axis=1, exclusive=True, reverse=reverse)
    return tf.reshape(tf.reshape(inside + before[:, :, None], (rows, -1))[:, :size], tf.shape(x))


def gather_documents(x: Tensor, order: Tensor) -> Tensor:
    """x[b, order[b, i]], [B, N] or [B, N, S] as x."""
    if is_backend("tensorflow"):
        import tensorflow as tf

        return tf.gather(x, order, batch_dims=1)  # one operation; `ops.take_along_axis` is a dozen
    return ops.take_along_axis(x, order if len(x.shape) == 2 else order[..., None], axis=1)


def ascending_order(x: Tensor) -> Tensor:
    """Indices that sort each row of x [B, N] in ascending order; ties keep their order."""
    if not is_backend("jax") or has_accelerator() or x.dtype != "float32" or x.shape[1] > _SQUARE_IN_INT32:
        return ops.argsort(x, axis=-1)
    import jax

    # XLA sorts integers on the CPU four times as fast as floats, and as integers with their indices: so first the
    # bits, which sort like the floats if those of negative numbers are flipped, then the places with the indices.
    bits = jax.lax.bitcast_convert_type(x, "int32")
    keys = jax.numpy.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    size = x.shape[1]
    places = search_sorted(jax.numpy.sort(keys, axis=1), keys, "left")
    return jax.numpy.sort(places * size + jax.numpy.arange(size, dtype="int32"), axis=1) % size


def inverse_permutation(places: Tensor) -> Tensor:
    """The permutation p⁻¹ with p⁻¹[p[i]] = i, of a permutation p [M] of 0 .. M - 1."""
    if is_backend("tensorflow"):
        import tensorflow as tf

        return tf.math.invert_permutation(places)  # many times faster than a scatter
    size = ops.shape(places)[0]
    return scattered(places, ops.arange(size, dtype="int32"), (size,))


def scattered(places: Tensor, rows: Tensor, size: Any) -> Tensor:
    """Zeros of the shape `size` [M, ...] with rows[k] at places[k], which are distinct.

    Not `ops.scatter`, which loops over rows on torch.
    """
    return ops.scatter_update(ops.zeros(size, dtype=rows.dtype), places[:, None], rows)


def summed_at(places: Tensor, values: Tensor, size: Any) -> Tensor:
    """Zeros [size] to which values[k] are added at places[k].

    Not `ops.segment_sum`, which sums in float32 on torch and refuses a size of 0 there.
    """
    return ops.scatter_update(ops.zeros((size,), dtype=values.dtype), places[:, None], values, reduction="add")


def search_sorted(rows: Tensor, x: Tensor, side: str) -> Tensor:
    """`numpy.searchsorted` of x [B, M] in the sorted rows [B, K], row by row, [B, M] int32."""
    if is_backend("tensorflow"):
        import tensorflow as tf

        return tf.searchsorted(rows, x, side=side)
    if is_backend("jax"):
        import jax

        method = "sort" if has_accelerator() else "scan_unrolled"  # sorts are slow on the CPU
        return jax.vmap(lambda row, some: jax.numpy.searchsorted(row, some, side=side, method=method))(rows, x)
    import torch

    return torch.searchsorted(rows.contiguous(), x.contiguous(), side=side, out_int32=True)
