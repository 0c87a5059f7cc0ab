"""Rank functions: from scores to the ranks of documents, exact, smooth, or bounded from above.

A rank function turns scores and mask, [B, N], into `at_rank`: given an elementwise function of 1-based ranks,
`at_rank(function)` is its value, or expected value, at the rank of each document, [B, N]. A metric written in terms of
`at_rank` becomes a smooth surrogate with a smooth rank function. `approx_ranks` computes `dense_approx_ranks`, in
N log N, and `bound_ranks` `dense_bound_ranks`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.ops.backend import detached, either, gather_documents
from ml4ir_losses.ops.choice import is_better_ranked, may_be_ranked
from ml4ir_losses.ops.kernels.gradients import with_gradient
from ml4ir_losses.ops.kernels.odds import odds, powers
from ml4ir_losses.ops.kernels.stripes import Stripe, extents_of, stripe_sums
from ml4ir_losses.ops.masking import row_sum, without_nan
from ml4ir_losses.ops.pair_terms import Hinge, Scaled, SoftZeroOne
from ml4ir_losses.ops.pairs import SeparableTerm, sums_in_order, valid_pairs
from ml4ir_losses.ops.separable import equal_weights
from ml4ir_losses.ops.sorting import descending_order, inverse_order, ranks

AtRank = Callable[[Callable[[Tensor], Tensor]], Tensor]
RankFn = Callable[[Tensor, Tensor], AtRank]
Documents = Sequence[Tensor]


def dense_approx_ranks(scores: Tensor, mask: Tensor, temperature: float) -> Tensor:
    """1/2 + Σ_j σ((s_j - s_i)/T) over the valid documents j, [B, N], 1 where masked."""
    lead = (scores[:, None, :] - scores[:, :, None]) / temperature
    return ops.where(mask, 0.5 + ops.sum(ops.where(valid_pairs(mask), ops.sigmoid(lead), 0.0), axis=2), 1.0)


def dense_bound_ranks(scores: Tensor, mask: Tensor, temperature: float) -> Tensor:
    """Σ_j max(0, 1 + (s_j - s_i)/T) over the valid documents j, i among them, [B, N], 1 where masked."""
    lead = (scores[:, None, :] - scores[:, :, None]) / temperature
    return ops.where(mask, ops.sum(ops.where(valid_pairs(mask), ops.relu(1.0 + lead), 0.0), axis=2), 1.0)


def exact_ranks(scores: Tensor, mask: Tensor) -> AtRank:
    """The ranks themselves; ties keep their order. No gradient."""
    position = ops.cast(ranks(scores, mask), scores.dtype)
    return lambda function: function(position)


def approx_ranks(temperature: float) -> RankFn:
    """ρ_i = 1/2 + Σ_j σ((s_j - s_i)/T) over the valid documents j, 1 where masked."""
    term = Scaled(SoftZeroOne(), 1.0 / temperature)
    return _ranks(_RankStripe(temperature), _RankSlopeStripe(temperature), 0.5, term)


def bound_ranks(temperature: float) -> RankFn:
    """ρ_i = Σ_j max(0, 1 + (s_j - s_i)/T) ≥ rank of i, over the valid documents j, 1 where masked."""
    return _ranks(_BoundStripe(temperature), _BoundSlopeStripe(temperature), 1.0, Hinge(temperature), 1.0 / temperature)


def _ranks(values: Stripe, slopes: Stripe, own: float, term: SeparableTerm, factor: float = 1.0) -> RankFn:
    """1 + Σ_j factor·term(s_i - s_j) without the term of the document itself, `own`.

    In N log N; few pairs, and float64, one by one: `values` sums the term, `slopes` the gradient.
    """

    def positions(scores: Tensor, mask: Tensor) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, ...]]]:
        valid = mask > 0
        key = ops.where(valid, scores, float("nan"))

        def by_pairs(stripe: Stripe, *fields: Tensor) -> Tensor:
            return stripe_sums(stripe, (1, 0), (key, *fields), (key, *fields), extents_of(valid))[0]

        def in_ranking(*upstream: Tensor) -> Tensor:
            """The values, or the gradient from that in the values."""
            order = descending_order(scores, valid)
            in_order, ones, *weight = (gather_documents(x, order) for x in (scores, mask, *upstream))
            pairs = sums_in_order(term, equal_weights(ones), (in_order,), ones > 0)
            return factor * gather_documents(pairs.slopes(*weight) if weight else pairs.values(), inverse_order(order))

        def either_way(one_by_one: Callable[[], Tensor], *upstream: Tensor) -> Tensor:
            if not may_be_ranked(valid, scores.dtype):
                return one_by_one()
            return either(is_better_ranked(valid, scores), lambda: (in_ranking(*upstream),), lambda: (one_by_one(),))[0]

        def pull_back(upstream: Tensor) -> tuple[Tensor, ...]:
            upstream = ops.where(valid, detached(upstream), 0.0)
            return (either_way(lambda: by_pairs(slopes, upstream), upstream),)

        above = either_way(lambda: by_pairs(values))
        return 1.0 - own + ops.where(valid, above, own), pull_back

    def rank_fn(scores: Tensor, mask: Tensor) -> AtRank:
        position = with_gradient(positions, (scores,), (ops.cast(mask, scores.dtype),))
        return lambda function: function(position)

    return rank_fn


@dataclass(frozen=True)
class _LagStripe(Stripe):
    """Sums of functions of (s_i - s_j)/T."""

    temperature: float

    def prepare(self, documents: Documents) -> Documents:
        return [*documents, *powers(documents[0], self.temperature)]

    def lag(self, rows: Documents, columns: Documents) -> Tensor:
        return (rows[0] - columns[0]) / self.temperature

    def probabilities(self, lag: Tensor, rows: Documents, columns: Documents, fields: int) -> tuple[Tensor, Tensor]:
        """σ((s_j - s_i)/T) and its derivative in (s_i - s_j)/T; from the powers that `prepare` appended, if any."""
        if len(rows) == fields:
            return SoftZeroOne()(lag)
        return SoftZeroOne().of_odds(lag, odds(rows[fields:], columns[fields:]))[:2]


class _RankStripe(_LagStripe):
    """Σ_j σ((s_j - s_i)/T)."""

    def __call__(self, rows: Documents, columns: Documents, at_distance: Tensor | None) -> tuple[Documents, Documents]:
        lag = self.lag(rows, columns)
        above, _ = self.probabilities(lag, rows, columns, 1)
        return (row_sum(without_nan(above, lag)),), ()


class _RankSlopeStripe(_LagStripe):
    """Σ_j σ'((s_j - s_i)/T)·(u_j - u_i)/T, where u is the gradient in the ranks."""

    def __call__(self, rows: Documents, columns: Documents, at_distance: Tensor | None) -> tuple[Documents, Documents]:
        lag = self.lag(rows, columns)
        _, slope = self.probabilities(lag, rows, columns, 2)
        change = slope * (rows[1] - columns[1]) / self.temperature
        return (row_sum(without_nan(change, lag)),), ()


@dataclass(frozen=True)
class _BoundStripe(Stripe):
    """Σ_j max(0, 1 - (s_i - s_j)/T)."""

    temperature: float

    def __call__(self, rows: Documents, columns: Documents, at_distance: Tensor | None) -> tuple[Documents, Documents]:
        lag = (rows[0] - columns[0]) / self.temperature
        return (row_sum(without_nan(ops.relu(1.0 - lag), lag)),), ()


@dataclass(frozen=True)
class _BoundSlopeStripe(Stripe):
    """Σ_j (u_j·[s_j - s_i < T] - u_i·[s_i - s_j < T])/T, where u is the gradient in the ranks."""

    temperature: float

    def __call__(self, rows: Documents, columns: Documents, at_distance: Tensor | None) -> tuple[Documents, Documents]:
        lag = (rows[0] - columns[0]) / self.temperature
        raised, lowered = (ops.cast(x < 1.0, lag.dtype) for x in (-lag, lag))
        change = (columns[1] * raised - rows[1] * lowered) / self.temperature
        return (row_sum(without_nan(change, lag)),), ()
