"""Pairs of documents of a query."""

from __future__ import annotations

from collections.abc import Callable

from ml4ir_losses.lazy import Tensor, ops
from ml4ir_losses.ops.masking import row_sum


def pair_differences(x: Tensor) -> Tensor:
    """x_i - x_j, [B, N] → [B, N, N]."""
    return x[:, :, None] - x[:, None, :]


def valid_pairs(mask: Tensor) -> Tensor:
    """True where both documents are valid, [B, N, N]; a document makes a pair with itself too."""
    return ops.logical_and(mask[:, :, None], mask[:, None, :])


def ordered_pairs(labels: Tensor, mask: Tensor) -> Tensor:
    """True where y_i > y_j and both are valid, [B, N, N]."""
    return ops.logical_and(labels[:, :, None] > labels[:, None, :], valid_pairs(mask))


def distinct_pairs(mask: Tensor) -> Tensor:
    """True where i ≠ j and both are valid, [B, N, N]."""
    index = ops.arange(ops.shape(mask)[1])
    return ops.logical_and(index[:, None] != index[None, :], valid_pairs(mask))


def pair_sums(
    term: Callable[[Tensor], Tensor], pairs: Tensor, scores: Tensor, weight: Tensor, pair_weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Σ w_i·Λ_ij·term(s_i - s_j) and Σ w_i over the pairs, both [B]; Λ gets no gradient."""
    terms = term(ops.where(pairs, pair_differences(scores), 0.0))
    if pair_weights is None:
        terms = ops.where(pairs, terms, 0.0)
    else:  # a weight may be infinite where there is no pair
        terms = terms * ops.stop_gradient(ops.where(pairs, pair_weights, 0.0))
    return row_sum(weight * ops.sum(terms, axis=2)), row_sum(weight * ops.sum(ops.cast(pairs, scores.dtype), axis=2))


def logistic(margins: Tensor) -> Tensor:
    """ln(1 + e^-x)."""
    return -ops.log_sigmoid(margins)
