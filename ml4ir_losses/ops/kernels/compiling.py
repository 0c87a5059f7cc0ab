"""Compiled kernels, and the few shapes for which they are compiled."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache, partial
from typing import Any

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.ops.backend import compiled_by_xla, is_backend, is_eager

_called_eagerly: ContextVar[bool] = ContextVar("called_eagerly", default=False)

_SIZES = sorted({1, *(part * 2**k for part in (2, 3) for k in range(30 - part // 3))})  # 1, 2, 3, 4, 6, 8, ... 2^30


@lru_cache(maxsize=512)
def compiled(function: Callable[..., Any], *fixed: Any) -> Callable[..., Any]:
    """function(*fixed, *tensors) as a kernel: compiled by XLA even if the caller is not; on torch not compiled.

    Cached by the function and its fixed arguments, which must be hashable and compare by value. XLA compiles a kernel
    once per shape of its tensors: see `kernel_shape`.
    """
    return compiled_by_xla(partial(function, *fixed))


@contextmanager
def called_eagerly(eager: bool) -> Iterator[None]:
    """Within this context kernels know whether the call was eager, even where the code itself is being traced."""
    token = _called_eagerly.set(eager)
    try:
        yield
    finally:
        _called_eagerly.reset(token)


def kernel_shape(lists: Any, width: Any, like: Tensor) -> tuple[Any, Any]:
    """The shape to which [lists, width] is padded, so that batches of many shapes share a few kernels.

    Eager calls may see any shape: both sizes are rounded up to 1, 2, 3, 4, 6, 8, 12, 16, ... In a graph static sizes
    are kept; a width that is known only when the graph runs, as a tensor, is rounded up.
    """
    if is_backend("torch"):  # no compilation
        return lists, width
    if isinstance(width, int):
        eager = _called_eagerly.get() or is_eager(like)
        return (_rounded_up(lists), _rounded_up(width)) if eager and isinstance(lists, int) else (lists, width)
    sizes = ops.convert_to_tensor(_SIZES, dtype="int32")
    return lists, ops.min(ops.where(sizes >= ops.maximum(width, 8), sizes, _SIZES[-1]))


def _rounded_up(size: int) -> int:
    return _SIZES[bisect_left(_SIZES, size)] if size else 0


def padded(x: Tensor, lists: Any, width: Any, filler: float) -> Tensor:
    """x [B, N] with the filler to its right and below it, in the shape that `kernel_shape` gave."""
    rows, columns = ops.shape(x)
    if not isinstance(width, int) or (isinstance(columns, int) and columns < width):
        x = ops.concatenate([x, ops.zeros((rows, width - columns), dtype=x.dtype) + filler], axis=1)
    if isinstance(lists, int) and isinstance(rows, int) and rows < lists:
        x = ops.concatenate([x, ops.zeros((lists - rows, ops.shape(x)[1]), dtype=x.dtype) + filler], axis=0)
    return x
