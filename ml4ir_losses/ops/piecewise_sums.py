"""Sums over the pairs of a ranking whose terms are piecewise polynomials, in N log N: no [N, N].

In descending order of the scores, the pairs of a document i in which a term max(0, m - (s_i - s_j))^q is not 0 are
those with the first documents of the list, up to a place that a search finds. What these add up to is a polynomial in
m - (s_i - s_l), l the last of them, whose coefficients are running sums of the list, of (s_j - s_l)^p ≥ 0: numbers of
one sign, of which no two cancel. max(0, s_i - s_j - m)^q is the same in the reversed list of the negative scores.

Weights by rank are not the same on both sides of i. Then the documents behind i are those of its own block of the list,
summed one by one, those of whole blocks, and the first ones of one more block.

`PiecewisePairs` computes `dense_pairs` of `exponential_sums.py`. See docs/pairs.md.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.ops.backend import exact_product, gather_documents, search_sorted
from ml4ir_losses.ops.blocks import block_size, in_blocks, in_list, is_before, mixed, transposed, with_last_in_padding
from ml4ir_losses.ops.masking import row_sum
from ml4ir_losses.ops.pair_terms import PiecewiseTerm
from ml4ir_losses.ops.separable import SeparableWeights

_BLOCK = 64  # documents of a block of running sums


class PiecewisePairs:
    """Sums of a term f over the pairs of rankings.

    Args:
        term: f.
        weights: Λ.
        scores, mask: [B, N], scores in descending order, padding last.
    """

    def __init__(self, term: PiecewiseTerm, weights: SeparableWeights, scores: Tensor, mask: Tensor) -> None:
        scores = with_last_in_padding(scores, mask)
        below, above, margin, power = term.pieces
        self.parts: list[tuple[float, _ByRank | _Prefixes | _Mirrored]] = []
        if below:
            by_rank = margin > 0 and weights.lower is not weights.upper
            first = _ByRank(margin, weights, scores) if by_rank else _Prefixes(margin, power, weights, scores)
            self.parts.append((below, first))
        if above:
            self.parts.append((above, _Mirrored(-margin, power, weights, scores)))

    def total(self) -> Tensor:
        """Σ_ij Λ_ij·f(s_i - s_j), i the better document, [B]."""
        return row_sum(self.values())

    def values(self) -> Tensor:
        """Σ_j Λ_ij·f(s_i - s_j) of each document i as the better one, [B, N]."""
        return sum(factor * part.values() for factor, part in self.parts)

    def slopes(self, weight: Tensor | None = None) -> Tensor:
        """The derivative of Σ_i w_i·values_i in the scores, [B, N]; weight [B, N], None: 1."""
        return sum(factor * part.slopes(weight) for factor, part in self.parts)


class _Prefixes:
    """max(0, m - x)^q over the pairs with the first documents of the list."""

    def __init__(self, margin: float, power: int, weights: SeparableWeights, scores: Tensor) -> None:
        self.margin, self.power, self.weights, self.scores = margin, power, weights, scores
        self.better = mixed(weights.lower, weights.mix)
        self.places = _places(scores, margin)

    def values(self) -> Tensor:
        return self._as_better[self.power]

    def slopes(self, weight: Tensor | None = None) -> Tensor:
        fall, documents = self._as_better[self.power - 1], self.better
        if weight is not None:
            fall, documents = weight * fall, weight[:, :, None] * documents
        # The better documents of i are the last ones of the list, from a place on.
        count = ops.shape(self.scores)[1] - search_sorted(self.places, _row(self.scores), "right")
        sums = _sums_of_first(_mirrored(self.scores), ops.flip(documents, axis=1), self.power - 1)
        rise = sums.powers(count, self.weights.upper, -self.scores, self.margin)[-1]
        return self.power * (rise - fall)

    @cached_property
    def _as_better(self) -> list[Tensor]:
        sums = _sums_of_first(self.scores, self.weights.upper, self.power)
        return sums.powers(self.places, self.better, self.scores, self.margin)


class _Mirrored:
    """max(0, x - m)^q over the pairs with the last documents of the list: `_Prefixes` of the reversed list."""

    def __init__(self, margin: float, power: int, weights: SeparableWeights, scores: Tensor) -> None:
        lower = ops.flip(weights.upper, axis=1)
        upper = lower if weights.lower is weights.upper else ops.flip(weights.lower, axis=1)
        self.prefixes = _Prefixes(-margin, power, SeparableWeights(lower, upper, weights.mix), _mirrored(scores))

    def values(self) -> Tensor:
        return ops.flip(self.prefixes.values(), axis=1)

    def slopes(self, weight: Tensor | None = None) -> Tensor:
        return _mirrored(self.prefixes.slopes(None if weight is None else ops.flip(weight, axis=1)))


class _ByRank:
    """max(0, m - x) with weights that differ on the two sides of i; m > 0."""

    def __init__(self, margin: float, weights: SeparableWeights, scores: Tensor) -> None:
        self.documents, self.size = ops.shape(scores)[1], block_size(ops.shape(scores)[1])
        self.margin, self.scores = margin, self._whole_blocks(scores, repeat_last=True)
        self.lower, self.upper = self._whole_blocks(weights.lower), self._whole_blocks(weights.upper)
        # The factors of i as the better document of a pair with one ahead of it, and with one behind it.
        self.after, self.before = mixed(self.lower, weights.mix), mixed(self.upper, weights.mix)
        self.places = _places(self.scores, margin)
        self.own = _row(self.scores) // self.size

    def values(self) -> Tensor:
        pairs, gaps, _ = self._near
        return (in_list(row_sum(pairs * gaps)) + self._far[1])[:, : self.documents]

    def slopes(self, weight: Tensor | None = None) -> Tensor:
        pairs, _, active = self._near
        near, fall, after, before = pairs * active, self._far[0], self.after, self.before
        if weight is not None:
            weight = self._whole_blocks(weight)
            fall, after, before = weight * fall, weight[..., None] * after, weight[..., None] * before
            near = in_blocks(weight, self.size)[..., None] * near
        near = ops.sum(near, axis=2) - row_sum(near)
        # As the worse one, i meets documents behind it, and those ahead of it from a place on: the reversed list.
        places = ops.shape(self.scores)[1] - search_sorted(self.places, _row(self.scores), "right")
        tensors = (ops.flip(x, axis=1) for x in (after, before, self.upper, self.lower, places))
        rise = self._of_other_blocks(_mirrored(self.scores), *tensors, degree=0)
        return (in_list(near) + ops.flip(rise[0], axis=1) - fall)[:, : self.documents]

    @cached_property
    def _near(self) -> tuple[Tensor, Tensor, Tensor]:
        """Λ, max(0, m - x) and [m > x] of the pairs inside of each block, [B, n, T, T]."""
        tensors = self.scores, self.lower, self.upper, self.after, self.before, self.places, _row(self.scores)
        scores, lower, upper, after, before, places, row = (in_blocks(x, self.size) for x in tensors)
        active = ops.cast(row[..., None, :] < places[..., None], scores.dtype)
        gaps = (self.margin - (scores[..., :, None] - scores[..., None, :])) * active
        pairs_behind, pairs_ahead = exact_product(before, transposed(lower)), exact_product(after, transposed(upper))
        return ops.where(is_before(self.size, scores) > 0, pairs_behind, pairs_ahead), gaps, active

    @cached_property
    def _far(self) -> list[Tensor]:
        return self._of_other_blocks(
            self.scores, self.upper, self.lower, self.after, self.before, self.places, degree=1
        )

    def _of_other_blocks(
        self,
        scores: Tensor,
        ahead: Tensor,
        behind: Tensor,
        after: Tensor,
        before: Tensor,
        places: Tensor,
        *,
        degree: int,
    ) -> list[Tensor]:
        """Σ_j Λ_ij·(m - (s_i - s_j))^q of q ≤ degree, over the blocks ahead, and over j < k_i of the blocks behind."""
        count, last = ops.shape(scores)[1] // self.size, places // self.size
        is_behind = ops.cast(last > self.own, scores.dtype)
        sums = _sums_of_first(scores, behind, degree, self.size)
        heads = sums.powers(places, is_behind[..., None] * before, scores, self.margin)
        sums = _sums_of_blocks(scores, behind, degree, self.size, transposed(is_before(count, scores)))
        whole = sums.powers(last * count + self.own, before, scores, self.margin)
        sums = _sums_of_blocks(scores, ahead, degree, self.size, ops.ones((count, 1), dtype=scores.dtype))
        others = sums.powers(self.own, after, scores, self.margin)
        return [sum(parts) for parts in zip(heads, whole, others, strict=True)]

    def _whole_blocks(self, x: Tensor, repeat_last: bool = False) -> Tensor:
        """[B, N, ...] → [B, n·T, ...]."""
        return in_list(in_blocks(x, self.size, repeat_last))


class _Sums(NamedTuple):
    """Σ_j document_jf·(s_j - s_l)^p over some documents in order, l the last of them, p = 0 .. degree.

    Args:
        rows: [B, K, (degree + 1)·F].
        last: s_l, [B, K].
    """

    rows: Tensor
    last: Tensor

    def powers(self, places: Tensor, factors: Tensor, scores: Tensor, margin: float) -> list[Tensor]:
        """Σ_j (factor_i·document_j)·(m - (s_i - s_j))^q of the documents j of row `places`_i, q = 0 .. degree."""
        batch, documents, features = ops.shape(factors)
        degree = self.rows.shape[-1] // features - 1
        rows = gather_documents(self.rows, places)
        if degree == 0:
            return [row_sum(rows * factors)]
        rows = ops.reshape(rows, (batch, documents, degree + 1, features))
        moments = row_sum(rows * factors[:, :, None, :])
        lead = margin - (scores - gather_documents(self.last, places))
        count, distances = moments[..., 0], moments[..., 1]
        powers = [count, count * lead + distances]
        if degree == 2:
            powers.append((powers[1] + distances) * lead + moments[..., 2])
        return powers


def _sums_of_first(scores: Tensor, documents: Tensor, degree: int, block: Any = None) -> _Sums:
    """Sums over the first k documents, k = 0 .. N, or over those of them that are in one block with document k."""
    size = _BLOCK if block is None else block
    more = size - ops.shape(scores)[1] % size
    moments = [_running(_with_zeros(transposed(documents), more), size, block is None)]
    if degree > 0:
        gaps = _with_zeros(scores[:, :-1] - scores[:, 1:], more, first=1)[:, None, :]
        moments.append(_running(gaps * moments[0], size, block is None))
    if degree > 1:
        moments.append(_running(gaps * (2.0 * moments[1] + gaps * moments[0]), size, block is None))
    rows = transposed(ops.concatenate(moments, axis=1) if degree else moments[0])
    return _Sums(rows, ops.concatenate([scores[:, :1], scores], axis=1))


def _running(x: Tensor, size: Any, is_whole: bool) -> Tensor:
    """Σ_{j<k} x_j, of x [B, F, P]: the sums inside of blocks and those of the blocks before, or the former alone."""
    batch, features, _ = ops.shape(x)
    blocks = ops.reshape(x, (-1, size))
    sums = exact_product(blocks, is_before(size, x))
    if is_whole:
        totals = ops.reshape(row_sum(blocks), (batch * features, -1))
        sums = sums + ops.reshape(exact_product(totals, is_before(ops.shape(totals)[1], x)), (-1, 1))
    return ops.reshape(sums, (batch, features, -1))


def _sums_of_blocks(scores: Tensor, documents: Tensor, degree: int, size: Any, is_after: Tensor) -> _Sums:
    """Sums over the blocks c < y with is_after[c, x] = 1, row y·X + x, is_after [n, X], y = 0 .. n."""
    scores, documents = in_blocks(scores, size), in_blocks(documents, size)
    batch, count, _, features = ops.shape(documents)
    lowest = scores[:, :, -1]
    last = ops.concatenate([lowest[:, :1], lowest], axis=1)  # of the block before y
    before = transposed(is_before(count + 1, scores)[:count]) + 0.0 * last[:, :, None]  # c < y, [B, n + 1, n]

    def from_blocks(sums: Tensor) -> Tensor:
        return ops.reshape(sums[:, :, None, :] * is_after[:, :, None], (batch, count, -1))

    sums = from_blocks(ops.sum(documents, axis=2))
    moments = [exact_product(before, sums)]
    if degree > 0:
        inside = from_blocks(ops.sum((scores - scores[:, :, -1:])[..., None] * documents, axis=2))
        distances = before * (lowest[:, None, :] - last[:, :, None])
        moments.append(exact_product(before, inside) + exact_product(distances, sums))
    rows = [ops.reshape(x, (batch, -1, features)) for x in moments]
    return _Sums(ops.concatenate(rows, axis=-1), ops.repeat(last, ops.shape(is_after)[1], axis=1))


def _places(scores: Tensor, margin: float) -> Tensor:
    """The number of documents j with s_i - s_j < m, exactly, [B, N] int32."""
    last = scores
    if margin:
        last = scores - margin
        back = last - scores
        error = (scores - (last - back)) - (margin + back)  # last + error is s_i - m without rounding (Knuth's TwoSum)
        last = last - ops.cast(error < 0, last.dtype) * ops.abs(last) * _NEXT_BELOW
    return search_sorted(-scores, -last, "left")


_NEXT_BELOW = 5.96047e-8  # x - |x|·this is the next smaller float32


def _row(like: Tensor) -> Tensor:
    """0 .. N - 1 in each row, [B, N] int32."""
    return ops.arange(ops.shape(like)[1], dtype="int32") + ops.zeros_like(like, dtype="int32")


def _with_zeros(x: Tensor, last: Any, first: int = 0) -> Tensor:
    """x [..., N] between zeros."""
    shape = ops.shape(x)[:-1]
    parts = [ops.zeros((*shape, first), dtype=x.dtype)] if first else []
    return ops.concatenate([*parts, x, ops.zeros((*shape, last), dtype=x.dtype)], axis=-1)


def _mirrored(x: Tensor) -> Tensor:
    """Scores, or their slopes, of the reversed list in which the signs are changed."""
    return -ops.flip(x, axis=1)
