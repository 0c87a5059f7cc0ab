"""Ranks of feature values among the documents of a query."""

from __future__ import annotations

from keras import ops

from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.ops import as_mask
from ml4ir_losses.ops.sorting import inverse_order


def query_rank(x: Tensor, valid: Tensor | None = None) -> Tensor:
    """Rank of each value among its query's documents, [B, N, F]: -1/2 is lowest, 1/2 is highest; ties share a rank.

    A stable sort ranks tied values in list order, and in reverse order if the list is reversed: the mean of both ranks
    is the mean rank of the tie.
    """
    valid = as_mask(valid, x[..., 0])[..., None]
    keys = ops.where(valid, ops.where(x == 0, 0.0, x), float("inf"))  # -0.0 ties with 0.0
    _, documents, features = ops.shape(keys)
    rows = ops.reshape(ops.swapaxes(keys, 1, 2), (-1, documents))

    def sort_ranks(rows: Tensor) -> Tensor:
        return ops.cast(inverse_order(ops.argsort(rows, axis=-1)), x.dtype)

    ranks = (sort_ranks(rows) + ops.flip(sort_ranks(ops.flip(rows, axis=-1)), axis=-1)) / 2.0
    ranks = ops.swapaxes(ops.reshape(ranks, (-1, features, documents)), 1, 2)
    size = ops.sum(ops.cast(valid, x.dtype), axis=1, keepdims=True)
    return ops.where(valid, (ranks + 0.5) / ops.maximum(size, 1.0) - 0.5, 0.0)
