"""Rank functions: from scores to the ranks of documents, exact or smooth.

A rank function turns scores and mask, [B, N], into `at_rank`: given an elementwise function of 1-based ranks,
`at_rank(function)` is the value, or expected value, that it takes at every document, [B, N]. A metric that is written
over `at_rank` has its smooth surrogates for free.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ml4ir_losses.lazy import Tensor, ops
from ml4ir_losses.ops.loops import detached
from ml4ir_losses.ops.masking import below_top, lowest, row_sum
from ml4ir_losses.ops.pairs import SoftZeroOne
from ml4ir_losses.ops.sinkhorn import sinkhorn
from ml4ir_losses.ops.sorting import descending_order, rank_table, ranks, take
from ml4ir_losses.ops.stripes import extents_of, stripe_sums

AtRank = Callable[[Callable[[Tensor], Tensor]], Tensor]
RankFn = Callable[[Tensor, Tensor], AtRank]
Documents = Sequence[Tensor]

_EXACT = 2.0**22  # whole numbers up to four times this are exact in float32


def exact_ranks(scores: Tensor, mask: Tensor) -> AtRank:
    """The ranks themselves; ties keep their order. No gradient."""
    position = ops.cast(ranks(scores, mask), scores.dtype)
    return lambda function: function(position)


def approx_ranks(temperature: float) -> RankFn:
    """ρ_i = 1/2 + Σ_j σ((s_j - s_i)/T) over the valid documents j, 1/2 where masked; memory B·N and a stripe."""

    def rank_fn(scores: Tensor, mask: Tensor) -> AtRank:
        extents = extents_of(mask)

        @ops.custom_gradient  # type: ignore[untyped-decorator]
        def positions(scores: Tensor) -> tuple[Tensor, Any]:
            documents = (ops.where(mask, detached(scores), float("nan")),)
            (above,) = stripe_sums(_RankStripe(temperature), (1, 0), documents, documents, extents)

            def gradient(*args: Tensor, upstream: Tensor | None = None) -> Tensor:
                given = (*documents, detached(args[0] if upstream is None else upstream))
                return stripe_sums(_RankSlopeStripe(temperature), (1, 0), given, given, extents)[0]

            return 0.5 + above, gradient

        position = positions(scores)
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


def neural_sort_ranks(temperature: float, sinkhorn_iterations: int = 0) -> RankFn:
    """Expected values under the NeuralSort matrix P: Σ_r P_ri f(r); P first scaled by Sinkhorn where asked for."""

    def rank_fn(scores: Tensor, mask: Tensor) -> AtRank:
        matrix = neural_sort_matrix(scores / temperature, mask)
        if sinkhorn_iterations:
            matrix = sinkhorn(matrix, sinkhorn_iterations)
        position = rank_table(scores)[None, :]
        return lambda function: ops.sum(matrix * function(position)[:, :, None], axis=1)

    return rank_fn


def neural_sort_matrix(scores: Tensor, mask: Tensor) -> Tensor:
    """NeuralSort, [B, N, N]: row r holds the shares of the documents in rank r; 0 where row or column is padding."""
    return ops.where(cells(mask), ops.softmax(neural_sort_logits(scores, mask), axis=-1), 0.0)


def cells(mask: Tensor) -> Tensor:
    """The cells of [B, N, N] whose rank exists and whose document is valid."""
    size = ops.sum(ops.cast(mask, "int32"), axis=-1)
    rank_exists = ops.arange(ops.shape(mask)[1], dtype="int32")[None, :] < size[:, None]
    return ops.logical_and(rank_exists[:, :, None], mask[:, None, :])


def neural_sort_logits(scores: Tensor, mask: Tensor) -> Tensor:
    """(n + 1 - 2r)·v_k - Σ_j |v_k - v_j| but for a constant of each row r, [B, N, N]; lowest where k is padding.

    The two terms cancel: near v = 1e4 and n = 1000 they are 1e7, of which float32 drops the digits that decide. So v
    is a whole multiple of a step, for which the sums are exact, and a small rest, which alone carries the gradient.
    """
    values = below_top(scores, mask)
    size = row_sum(ops.cast(mask, values.dtype))[:, None]
    step = ops.stop_gradient(size * ops.max(ops.abs(values), axis=-1, keepdims=True) / _EXACT)
    step = ops.where(step > 0, step, 1.0)
    whole = ops.stop_gradient(ops.round(values / step))
    rest = values - whole * step

    order = ops.sign(values[:, :, None] - values[:, None, :])  # 0 at ties, where the gradient of |x| is 0
    order = ops.stop_gradient(ops.where(mask[:, None, :], order, 0.0))
    factor = size + 1.0 - 2.0 * rank_table(values)[None, :]

    def distances(x: Tensor) -> Tensor:
        return row_sum(order * (x[:, :, None] - x[:, None, :]))

    far, ranked = distances(whole), descending_order(values, mask)
    highest = factor * take(whole, ranked) - take(far, ranked)  # of row r: at the document of rank r
    coarse = factor[:, :, None] * whole[:, None, :] - far[:, None, :] - highest[:, :, None]
    fine = factor[:, :, None] * rest[:, None, :] - distances(rest)[:, None, :]
    return ops.where(mask[:, None, :], step[:, :, None] * coarse + fine, lowest(values))
