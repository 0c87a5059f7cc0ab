"""Counts of smaller numbers in a row, by sorting instead of comparing all pairs."""

from __future__ import annotations

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.ops.backend import search_sorted


def counts_below(x: Tensor, y: Tensor, counted: Tensor, or_equal: bool = False) -> Tensor:
    """Σ_k [counted_k][y_k < x_m] (or ≤ with `or_equal`) of x [B, M] and y [B, K], [B, M] int32; no gradient.

    Binary search in the sorted row: memory B·(M + K).
    """
    x, y = (ops.stop_gradient(ops.convert_to_tensor(numbers)) for numbers in (x, y))
    row = ops.sort(ops.where(counted, y, float("inf")), axis=1)
    most = ops.sum(ops.cast(counted, "int32"), axis=1, keepdims=True)
    places = search_sorted(row, x, "right" if or_equal else "left")
    return ops.where(places < most, places, most)  # numbers that are not counted are sorted to the end
