"""Ranks of feature values among the documents of a query."""

from __future__ import annotations

from keras import ops

from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.ops import as_mask
from ml4ir_losses.ops.sorting import inverse_order


def query_rank(x: Tensor, valid: Tensor | None = None) -> Tensor:
    """Rank of each value among its query's documents, [B, N, F]: -1/2 lowest, 1/2 highest, ties share the middle.

    A stable sort numbers equal values upwards, and downwards in the reversed list: the mean of both numbers is the
    middle of the tie.
    """
    valid = as_mask(valid, x[..., 0])[..., None]
    keys = ops.where(valid, ops.where(x == 0, 0.0, x), float("inf"))  # -0.0 ties with 0.0
    _, documents, features = ops.shape(keys)
    rows = ops.reshape(ops.swapaxes(keys, 1, 2), (-1, documents))

    def places(rows: Tensor) -> Tensor:
        return ops.cast(inverse_order(ops.argsort(rows, axis=-1)), x.dtype)

    middle = (places(rows) + ops.flip(places(ops.flip(rows, axis=-1)), axis=-1)) / 2.0
    middle = ops.swapaxes(ops.reshape(middle, (-1, features, documents)), 1, 2)
    size = ops.sum(ops.cast(valid, x.dtype), axis=1, keepdims=True)
    return ops.where(valid, (middle + 0.5) / ops.maximum(size, 1.0) - 0.5, 0.0)
