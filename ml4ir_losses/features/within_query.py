"""Feature values compared with those of the other documents of a query; padding gives 0."""

from __future__ import annotations

import numpy as np
from keras import ops

from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.ops import as_mask
from ml4ir_losses.ops.sorting import inverse_order

HUGE, TINY = float(np.finfo("float32").max), float(np.finfo("float32").tiny)


def query_rank(x: Tensor, valid: Tensor | None = None) -> Tensor:
    """Rank of each value among its query's documents, [B, N, F]: -1/2 is lowest, 1/2 is highest; ties share a rank.

    A stable sort ranks tied values in list order, and in reverse order if the list is reversed: the mean of both ranks
    is the mean rank of the tie.
    """
    valid = ops.expand_dims(as_mask(valid, x[..., 0]), -1)
    keys = ops.where(valid, ops.where(x == 0, 0.0, x), float("inf"))  # -0.0 ties with 0.0
    _, documents, features = ops.shape(keys)
    rows = ops.reshape(ops.swapaxes(keys, 1, 2), (-1, documents))

    def sort_ranks(rows: Tensor) -> Tensor:
        return ops.cast(inverse_order(ops.argsort(rows, axis=-1)), x.dtype)

    ranks = (sort_ranks(rows) + ops.flip(sort_ranks(ops.flip(rows, axis=-1)), axis=-1)) / 2.0
    ranks = ops.swapaxes(ops.reshape(ranks, (-1, features, documents)), 1, 2)
    size = ops.sum(ops.cast(valid, x.dtype), axis=1, keepdims=True)
    return ops.where(valid, (ranks + 0.5) / ops.maximum(size, 1.0) - 0.5, 0.0)


def query_min_max(x: Tensor, valid: Tensor | None = None) -> Tensor:
    """(x - min) / (max - min) of each query's documents, [B, N, F]; 0 if they are all equal."""
    valid = ops.expand_dims(as_mask(valid, x[..., 0]), -1)
    # Neither the difference of two large numbers nor its reciprocal, by which XLA multiplies, fits in float32.
    x = ops.clip(x, -HUGE, HUGE) / 16.0
    low = ops.min(ops.where(valid, x, HUGE), axis=1, keepdims=True)
    spread = ops.max(ops.where(valid, x, -HUGE), axis=1, keepdims=True) - low
    differs = spread >= TINY
    return ops.where(ops.logical_and(valid, differs), (x - low) / ops.where(differs, spread, 1.0), 0.0)


def query_z_score(x: Tensor, valid: Tensor | None = None) -> Tensor:
    """(x - mean) / standard deviation of each query's documents, [B, N, F]; 0 if they are all equal."""
    scaled = query_min_max(x, valid)  # between 0 and 1, where nothing overflows or cancels
    valid = ops.expand_dims(as_mask(valid, x[..., 0]), -1)
    size = ops.maximum(ops.sum(ops.cast(valid, x.dtype), axis=1, keepdims=True), 1.0)
    deviation = ops.where(valid, scaled - ops.sum(scaled, axis=1, keepdims=True) / size, 0.0)
    spread = ops.sqrt(ops.sum(ops.square(deviation), axis=1, keepdims=True) / size)
    return deviation / ops.where(spread > 0, spread, 1.0)


def query_minimum(x: Tensor, valid: Tensor | None, otherwise: Tensor) -> Tensor:
    """The lowest value of each query's documents, NaN left out, [B, 1, F]; `otherwise` [F] where there is none."""
    valid = ops.expand_dims(as_mask(valid, x[..., 0]), -1)
    values = ops.where(ops.logical_and(valid, ops.logical_not(ops.isnan(x))), x, float("inf"))
    low = ops.min(values, axis=1, keepdims=True)
    return ops.where(low == float("inf"), otherwise, low)
