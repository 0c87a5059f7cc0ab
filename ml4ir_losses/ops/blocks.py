"""Lists cut into blocks of documents, and products of their factors."""

from __future__ import annotations

from typing import Any

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.ops.backend import exact_product


def block_size(documents: Any) -> Any:
    """T by the number of documents of a list: the work inside and between blocks grows as N·T and N²/T²."""
    small, large, long = 32, 128, 8192
    if isinstance(documents, int):
        return small if documents <= long else large
    return ops.where(documents <= long, small, large)


def in_blocks(x: Tensor, size: Any, repeat_last: bool = False) -> Tensor:
    """[B, N, ...] → [B, n, T, ...], padded with zeros or with the last document."""
    lists, documents, *rest = ops.shape(x)
    blocks = -(-documents // size)
    more = blocks * size - documents
    if not isinstance(more, int) or more:
        filler = ops.zeros((lists, more, *rest), dtype=x.dtype)
        x = ops.concatenate([x, x[:, -1:] + filler if repeat_last else filler], axis=1)
    return ops.reshape(x, (lists, blocks, size, *rest))


def mixed(x: Tensor, mix: Tensor) -> Tensor:
    """x @ mix of x [B, ..., F] with the matrix of its list, [B, F, F], or with that of all, [1, F, F]."""
    shape = ops.shape(x)
    if mix.shape[0] == 1:
        return ops.reshape(exact_product(ops.reshape(x, (-1, shape[-1])), mix[0]), shape)
    return ops.reshape(exact_product(ops.reshape(x, (shape[0], -1, shape[-1])), mix), shape)


def transposed(x: Tensor) -> Tensor:
    return ops.swapaxes(x, -1, -2)
