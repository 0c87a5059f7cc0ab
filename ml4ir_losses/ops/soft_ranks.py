"""Rank functions: from scores to the ranks of documents, exact or smooth.

A rank function turns scores and mask, [B, N], into `at_rank`: given an elementwise function of 1-based ranks,
`at_rank(function)` is the value, or expected value, that it takes at every document, [B, N]. A metric that is written
over `at_rank` has its smooth surrogates for free.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.ops.kernels.loops import detached, with_gradient
from ml4ir_losses.ops.kernels.odds import odds, powers
from ml4ir_losses.ops.kernels.stripes import Stripe, extents_of, stripe_sums
from ml4ir_losses.ops.masking import row_sum, without_nan
from ml4ir_losses.ops.pairs import SoftZeroOne
from ml4ir_losses.ops.sorting import ranks

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
class _LeadStripe(Stripe):
    """What sums functions of (s_i - s_j)/T."""

    temperature: float

    def prepare(self, documents: Documents) -> Documents:
        return [*documents, *powers(documents[0], self.temperature)]

    def lag(self, rows: Documents, columns: Documents) -> Tensor:
        return (rows[0] - columns[0]) / self.temperature

    def shares(self, lag: Tensor, rows: Documents, columns: Documents, facts: int) -> tuple[Tensor, Tensor]:
        """σ((s_j - s_i)/T) and minus its derivative, from the powers behind the facts if there are any."""
        if len(rows) == facts:
            return SoftZeroOne()(lag)
        return SoftZeroOne().of_odds(lag, odds(rows[facts:], columns[facts:]))[:2]


class _RankStripe(_LeadStripe):
    """Σ_j σ((s_j - s_i)/T)."""

    def __call__(self, rows: Documents, columns: Documents, near: Tensor | None) -> tuple[Documents, Documents]:
        lag = self.lag(rows, columns)
        above, _ = self.shares(lag, rows, columns, 1)
        return (row_sum(without_nan(above, lag)),), ()


class _RankSlopeStripe(_LeadStripe):
    """Σ_j σ'((s_j - s_i)/T)·(u_j - u_i)/T, where u is the slope by the ranks."""

    def __call__(self, rows: Documents, columns: Documents, near: Tensor | None) -> tuple[Documents, Documents]:
        lag = self.lag(rows, columns)
        _, slope = self.shares(lag, rows, columns, 2)
        change = slope * (rows[1] - columns[1]) / self.temperature
        return (row_sum(without_nan(change, lag)),), ()
