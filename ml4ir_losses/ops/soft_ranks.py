"""Rank functions: from scores to the ranks of documents, exact or smooth.

A rank function turns scores and mask, [B, N], into `at_rank`: given an elementwise function of 1-based ranks,
`at_rank(function)` is the value, or expected value, that it takes at every document, [B, N]. A metric that is written
over `at_rank` has its smooth surrogates for free.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ml4ir_losses.lazy import Tensor, ops
from ml4ir_losses.ops.loops import detached, with_gradient
from ml4ir_losses.ops.masking import row_sum
from ml4ir_losses.ops.pairs import SoftZeroOne
from ml4ir_losses.ops.sorting import ranks
from ml4ir_losses.ops.stripes import extents_of, stripe_sums

AtRank = Callable[[Callable[[Tensor], Tensor]], Tensor]
RankFn = Callable[[Tensor, Tensor], AtRank]
Documents = Sequence[Tensor]


def exact_ranks(scores: Tensor, mask: Tensor) -> AtRank:
    """The ranks themselves; ties keep their order. No gradient."""
    position = ops.cast(ranks(scores, mask), scores.dtype)
    return lambda function: function(position)


def approx_ranks(temperature: float) -> RankFn:
    """ρ_i = 1/2 + Σ_j σ((s_j - s_i)/T) over the valid documents j, 1/2 where masked; memory B·N and a stripe."""

    def positions(scores: Tensor, mask: Tensor) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, ...]]]:
        documents = (ops.where(mask > 0, scores, float("nan")),)
        (above,) = stripe_sums(_RankStripe(temperature), (1, 0), documents, documents, extents_of(mask > 0))

        def pull_back(upstream: Tensor) -> tuple[Tensor, ...]:
            given = (*documents, detached(upstream))
            return tuple(stripe_sums(_RankSlopeStripe(temperature), (1, 0), given, given, extents_of(mask > 0)))

        return 0.5 + above, pull_back

    def rank_fn(scores: Tensor, mask: Tensor) -> AtRank:
        position = with_gradient(positions, (scores,), (ops.cast(mask, scores.dtype),))
        return lambda function: function(position)

    return rank_fn


@dataclass(frozen=True)
class _RankStripe:
    """Σ_j σ((s_j - s_i)/T)."""

    temperature: float

    def __call__(self, rows: Documents, columns: Documents, near: Tensor | None) -> tuple[Documents, Documents]:
        lead = (columns[0] - rows[0]) / self.temperature
        return (row_sum(ops.where(lead == lead, SoftZeroOne()(-lead)[0], 0.0)),), ()


@dataclass(frozen=True)
class _RankSlopeStripe:
    """Σ_j σ'((s_j - s_i)/T)·(u_j - u_i)/T, where u is the slope by the ranks."""

    temperature: float

    def __call__(self, rows: Documents, columns: Documents, near: Tensor | None) -> tuple[Documents, Documents]:
        lead = (columns[0] - rows[0]) / self.temperature
        _, slope = SoftZeroOne()(lead)
        change = -slope * (columns[1] - rows[1]) / self.temperature
        return (row_sum(ops.where(lead == lead, change, 0.0)),), ()
