"""Lists cut into blocks of documents, and products of their factors."""

from __future__ import annotations

from typing import Any

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.ops.backend import exact_product, gather_documents


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


def in_list(x: Tensor) -> Tensor:
    """[B, n, T, ...] → [B, n·T, ...]."""
    shape = ops.shape(x)
    return ops.reshape(x, (shape[0], -1, *shape[3:]))


def with_last_in_padding(scores: Tensor, mask: Tensor) -> Tensor:
    """Scores [B, N] in descending order; padding, which is last, takes the last of them, so that it is in order too."""
    last = ops.relu(ops.sum(ops.cast(mask, "int32"), axis=1, keepdims=True) - 1)
    return ops.where(mask, scores, gather_documents(scores, last))


def is_before(size: Any, like: Tensor) -> Tensor:
    """1 where j comes before k, [size, size], else 0."""
    places = ops.arange(size)
    return ops.cast(places[:, None] < places[None, :], like.dtype)


def mixed(x: Tensor, mix: Tensor) -> Tensor:
    """x @ mix of x [B, ..., F] with the matrix of its list, [B, F, F], or with that of all, [1, F, F]."""
    shape = ops.shape(x)
    if mix.shape[0] == 1:
        return ops.reshape(exact_product(ops.reshape(x, (-1, shape[-1])), mix[0]), shape)
    return ops.reshape(exact_product(ops.reshape(x, (shape[0], -1, shape[-1])), mix), shape)


def transposed(x: Tensor) -> Tensor:
    return ops.swapaxes(x, -1, -2)
