"""Counts of pairs of documents that are ranked in the order of their labels, without a tensor of all pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.ops.backend import has_slow_selects
from ml4ir_losses.ops.kernels.stripes import Stripe, extents_of, stripe_sums
from ml4ir_losses.ops.masking import row_sum, without_nan


@dataclass(frozen=True)
class _Ordered(Stripe):
    """For each document the number of documents with a lower label, and of those the number with a lower score."""

    truncated: bool

    def __call__(
        self, rows: Sequence[Tensor], columns: Sequence[Tensor], at_distance: Tensor | None
    ) -> tuple[tuple[Tensor, Tensor], tuple[()]]:
        (label, score, *top), (other, other_score, *other_top) = rows, columns
        pairs = _above(label, other)
        if self.truncated:
            pairs = pairs * _above(top[0] + other_top[0], 0.0)
        return (row_sum(pairs), row_sum(pairs * _above(score, other_score))), ()


def _above(x: Tensor, y: Tensor | float) -> Tensor:
    """1 where x > y, else 0, also where one is NaN."""
    if has_slow_selects():
        return without_nan(ops.relu(ops.sign(x - y)))
    return ops.cast(x > y, x.dtype)


def ordered_pair_counts(
    labels: Tensor, scores: Tensor, valid: Tensor, in_top: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Σ_j [y_i > y_j] and Σ_j [y_i > y_j][s_i > s_j] of each document i, both [B, N]; no gradient.

    With `in_top` [B, N] only pairs with a document in it count.
    """
    facts = [ops.where(valid, labels, float("nan")), scores]
    if in_top is not None:
        facts.append(ops.cast(in_top, scores.dtype))
    facts = [ops.stop_gradient(fact) for fact in facts]
    pairs, right = stripe_sums(_Ordered(in_top is not None), (2, 0), facts, facts, extents_of(valid))
    return pairs, right
