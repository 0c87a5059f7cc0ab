"""Sums over the pairs of a ranking whose terms are sums of exponentials, in N log N: no [N, N].

For two documents whose scores differ by u ≥ 0, a term is Σ_k c_k e^(-λ_k u) if they are in the right order, and another
such sum, plus a multiple of u, if they are not (`ExponentialTerm`). An exponential of a difference is a product of one
factor per document, so that its sum over all documents ahead of i is a sum of the list, times the factor of i.

In descending order of the scores a list is cut into blocks. With h and l the highest and the lowest score of a block,
the difference of two documents i and j of different blocks, j ahead, is (s_j - l_j) + (l_j - h_i) + (h_i - s_i): three
numbers that are at least 0, so that no exponential overflows, whatever the scores are. Pairs inside of a block are
summed one by one. `RankedPairs` computes `dense_pairs`. See docs/pairs.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.ops.backend import exact_product
from ml4ir_losses.ops.blocks import block_size, in_blocks, in_list, is_before, mixed, transposed, with_last_in_padding
from ml4ir_losses.ops.masking import row_sum
from ml4ir_losses.ops.pair_terms import ExponentialTerm
from ml4ir_losses.ops.separable import SeparableWeights

_NARROW = 1.0  # in blocks whose scores differ by less than this over λ_1, factors are kept as their distance from 1


def dense_pairs(term: ExponentialTerm, weights: SeparableWeights, scores: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Σ_j Λ_ij·f(s_i - s_j) of each document i as the better one, [B, ..., N], and Λ_ij·f'(s_i - s_j), [B, ..., N, N].

    Scores [B, ..., N], in descending order; of several their differences are added.
    """
    lower, upper, mix = weights
    pairs = exact_product(mixed(lower, mix), transposed(upper))  # i behind j, and i = j
    if lower is not upper:
        ahead = exact_product(mixed(upper, mix), transposed(lower))
        i_is_ahead = is_before(ops.shape(scores[0])[-1], scores[0]) > 0
        pairs = ops.where(i_is_ahead, ahead, pairs)
    values, slopes = term(sum(x[..., :, None] - x[..., None, :] for x in scores))
    return row_sum(pairs * values), pairs * slopes


class RankedPairs:
    """Sums of a term f over the pairs of rankings.

    Args:
        term: f.
        weights: Λ.
        scores: [B, N], in descending order, padding last; or several, whose differences are added, to keep all digits.
        mask: [B, N].
    """

    def __init__(
        self, term: ExponentialTerm, weights: SeparableWeights, scores: Tensor | tuple[Tensor, ...], mask: Tensor
    ) -> None:
        size = block_size(ops.shape(mask)[1])
        parts = scores if isinstance(scores, tuple) else (scores,)
        parts = tuple(in_blocks(with_last_in_padding(x, mask), size, repeat_last=True) for x in parts)
        lower = in_blocks(weights.lower, size)
        upper = lower if weights.lower is weights.upper else in_blocks(weights.upper, size)
        self.documents, self.size = ops.shape(mask)[1], size
        self.weights = SeparableWeights(lower, upper, weights.mix)
        self.blocks = _Blocks(term, parts)

    def total(self) -> Tensor:
        """Σ_ij Λ_ij·f(s_i - s_j), i the better document, [B]."""
        blocks, lower = self.blocks, self.weights.lower
        # Each pair once, from the side of the document behind.
        multiples = blocks.values(self._as_better(self._from_ahead), right_order=False)
        multiples = multiples + blocks.values(self._as_worse(self._from_ahead), right_order=True)
        far = ops.sum(_block_sums(blocks.behind, lower) * multiples, axis=(1, 2, 3))
        return row_sum(row_sum(self._near[0] + self._wrong_distances)) + far

    def values(self) -> Tensor:
        """Σ_j Λ_ij·f(s_i - s_j) of each document i as the better one, [B, N]."""
        blocks, (lower, upper, _) = self.blocks, self.weights
        # A document is better than one ahead of it in the wrong order, than one behind it in the right order.
        ahead, behind = self._as_better(self._from_ahead), self._as_better(self._from_behind)
        far = _expanded(blocks.behind, blocks.values(ahead, right_order=False), lower)
        far = far + _expanded(blocks.ahead, blocks.values(behind, right_order=True), upper)
        return self._in_lists(self._near[0] + self._wrong_distances + far)

    def slopes(self, weight: Tensor | None = None) -> Tensor:
        """The derivative of Σ_i w_i·values_i in the scores, [B, N]; weight [B, N], None: 1."""
        blocks, (lower, upper, _) = self.blocks, self.weights
        near, ahead, behind = self._near[1], self._from_ahead, self._from_behind
        if weight is not None:  # of the better document of a pair: of i, or of the others, which are summed with it
            weight = in_blocks(weight, self.size)
            near = weight[..., None] * near
            ahead, behind = blocks.from_ahead(weight[..., None] * upper), blocks.from_behind(weight[..., None] * lower)

        def expanded(factors: Tensor, better: Tensor, worse: Tensor, documents: Tensor) -> Tensor:
            if weight is None:
                return _expanded(factors, better + worse, documents)
            return weight * _expanded(factors, better, documents) + _expanded(factors, worse, documents)

        better = blocks.slopes(self._as_better(self._from_ahead), right_order=False)
        worse = blocks.slopes(self._as_worse(ahead), right_order=True)
        far = expanded(blocks.behind, better, worse, lower)
        better = blocks.slopes(self._as_better(self._from_behind), right_order=True)
        worse = blocks.slopes(self._as_worse(behind), right_order=False)
        far = far - expanded(blocks.ahead, better, worse, upper)
        return self._in_lists(row_sum(near) - ops.sum(near, axis=2) + far)

    @cached_property
    def _near(self) -> tuple[Tensor, Tensor]:
        """`dense_pairs` inside of each block, [B, n, T] and [B, n, T, T]."""
        return dense_pairs(self.blocks.term, self.weights, self.blocks.scores)

    @cached_property
    def _from_ahead(self) -> Tensor:
        return self.blocks.from_ahead(self.weights.upper)

    @cached_property
    def _from_behind(self) -> Tensor:
        return self.blocks.from_behind(self.weights.lower)

    @cached_property
    def _wrong_distances(self) -> Tensor | float:
        """growth·Σ_j Λ_ij·(s_j - s_i) over the documents j of the blocks ahead, i the better one, [B, n, T]."""
        blocks, (lower, upper, mix) = self.blocks, self.weights
        if not blocks.term.growth:
            return 0.0
        inside = ops.sum(blocks.above_lowest[..., None] * upper, axis=2)
        to_block = exact_product(blocks.gaps, ops.sum(upper, axis=2)) + exact_product(blocks.is_behind, inside)
        rows = mixed(ops.stack([to_block, self._from_ahead[:, :, 0]], axis=2), transposed(mix))
        distances = rows[:, :, :1] + blocks.below_highest[..., None] * rows[:, :, 1:]
        return blocks.term.growth * row_sum(distances * lower)

    def _as_better(self, others: Tensor) -> Tensor:
        """Sums over other documents, weighed for the pairs in which they are the worse ones."""
        return mixed(others, transposed(self.weights.mix))

    def _as_worse(self, others: Tensor) -> Tensor:
        """Sums over other documents, weighed for the pairs in which they are the better ones."""
        return mixed(others, self.weights.mix)

    def _in_lists(self, x: Tensor) -> Tensor:
        """[B, n, T] → [B, N]."""
        return in_list(x)[:, : self.documents]


class _Blocks:
    """Rankings in n blocks of T documents, [B, n, T], and what the documents of other blocks add up to.

    The factor of a document by exponential k is e^(-λ_k·x), x the distance of its score from that score of its block
    that is next to the others, [B, n, T, 1 + K] with λ_0 = 0. In a block whose scores differ by little all factors are
    near 1, and a sum of many such numbers, of either sign, would lose digits: there their distances from 1 take their
    place, and the rest is the term itself at the distance of the blocks.
    """

    def __init__(self, term: ExponentialTerm, scores: tuple[Tensor, ...]) -> None:
        self.term, self.scores = term, scores
        edges = [(x[:, :, :1], x[:, :, -1:]) for x in scores]
        self.below_highest = sum(highest - x for (highest, _), x in zip(edges, scores, strict=True))
        self.above_lowest = sum(x - lowest for (_, lowest), x in zip(edges, scores, strict=True))
        width = sum(highest - lowest for highest, lowest in edges)
        self.narrow = ops.cast(width < _NARROW / term.rates[0], width.dtype)[..., None]  # [B, n, 1, 1]
        rates = self._row((0.0, *term.rates))
        from_one = self.narrow * self._row((0.0, *(1.0 for _ in term.rates)))

        def factors(distance: Tensor) -> Tensor:
            powers = distance[..., None] * -rates
            return from_one * ops.expm1(powers) + (1.0 - from_one) * ops.exp(powers)

        self.behind, self.ahead = factors(self.below_highest), factors(self.above_lowest)  # as seen from other blocks
        self.is_behind = transposed(is_before(ops.shape(width)[1], width)) * ops.ones_like(width)  # [B, n, n]
        self.gaps = sum(transposed(lowest) - highest for highest, lowest in edges) * self.is_behind
        self.decays = ops.exp(rates[1:, None, None] * -self.gaps[:, None]) * self.is_behind[:, None]  # [B, K, n, n]

    def from_ahead(self, documents: Tensor) -> Tensor:
        """`_from_others` of the documents [B, n, T, F] of the blocks ahead of each block."""
        return self._from_others(_block_sums(self.ahead, documents), self.is_behind, self.decays, self.at_gaps)

    def from_behind(self, documents: Tensor) -> Tensor:
        """`_from_others` of the documents of the blocks behind each block."""
        matrices = (transposed(x) for x in (self.is_behind, self.decays, self.at_gaps))
        return self._from_others(_block_sums(self.behind, documents), *matrices)

    def values(self, others: Tensor, right_order: bool) -> Tensor:
        """The multiple of each factor in a document's sum of the term over `others`, [B, n, 1 + K, F]."""
        return self._multiples(others, 1, self.term.factors, right_order, self.term.constant)

    def slopes(self, others: Tensor, right_order: bool) -> Tensor:
        """The same in the derivative of that sum by the score that is lower."""
        return self._multiples(others, 2, _falls(self.term), right_order, -self.term.growth)

    @cached_property
    def at_gaps(self) -> Tensor:
        """The term in the right order, and minus its derivative, at the distance of two blocks, [B, 2, n, n]."""
        value, slope = self.term(self.gaps)
        return ops.stack([value, -slope], axis=1) * self.is_behind[:, None]

    def _from_others(self, sums: Tensor, is_other: Tensor, decays: Tensor, at_gaps: Tensor) -> Tensor:
        """Sums over the documents of other blocks, as seen from that score of a block that is next, [B, n, 3 + K, F].

        Row 0: of ones; 1: of the term in the right order; 2: of its slope; others: of the exponentials.
        """
        sums = ops.swapaxes(sums, 1, 2)
        ones, sums = sums[:, :1], sums[:, 1:]
        near_one = ops.swapaxes(self.narrow, 1, 2) * ones
        rest = exact_product(decays, sums)
        factors = ops.stack([self._row(_exact_sum(x)) for x in (self.term.factors, _falls(self.term))])
        at_score = ops.sum(factors[:, :, None, None] * rest[:, None], axis=2)
        at_score = at_score + exact_product(at_gaps, ops.repeat(near_one, 2, axis=1))
        exponentials = exact_product(decays, sums + near_one)
        rows = [exact_product(is_other[:, None], ones), at_score, exponentials]
        return ops.swapaxes(ops.concatenate(rows, axis=1), 1, 2)

    def _multiples(
        self, others: Tensor, at_score: int, factors: Sequence[float], right_order: bool, wrong: float
    ) -> Tensor:
        first = self.narrow * others[:, :, at_score : at_score + 1]
        rest = self._row(_exact_sum(factors))[:, None] * others[:, :, 3:]
        if not right_order:
            first, rest = self.term.sign * first + wrong * others[:, :, :1], self.term.sign * rest
        return ops.concatenate([first, rest], axis=2)

    def _row(self, numbers: Sequence[float]) -> Tensor:
        return ops.convert_to_tensor(numbers, dtype=self.scores[0].dtype)


def _falls(term: ExponentialTerm) -> tuple[float, ...]:
    """λ_k·c_k, of minus the derivative."""
    return tuple(rate * factor for rate, factor in zip(term.rates, term.factors, strict=True))


def _exact_sum(numbers: Sequence[float]) -> tuple[float, ...]:
    """The numbers, the last changed by what the others lose as float32: their sum, the term at u = 0, is then exact."""
    rounded = np.asarray(numbers[:-1], dtype="float32").astype("float64")
    return (*numbers[:-1], math.fsum(numbers) - math.fsum(rounded))


def _block_sums(factors: Tensor, documents: Tensor) -> Tensor:
    """Σ_t factor_tk·document_tf, [B, n, 1 + K, F]."""
    return exact_product(transposed(factors), documents)


def _expanded(factors: Tensor, multiples: Tensor, documents: Tensor) -> Tensor:
    """Σ_kf factor_tk·multiple_kf·document_tf, [B, n, T]."""
    return row_sum(exact_product(factors, multiples) * documents)
