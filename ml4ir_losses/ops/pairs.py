"""Sums over the document pairs of a query, with value and gradient in one pass.

`pair_sums` computes `dense_pair_sums`, but keeps only one stripe of the pair matrix in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import mul as multiply
from typing import ClassVar, NamedTuple, Protocol

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.ops.backend import has_slow_selects, nan_to_zero
from ml4ir_losses.ops.counting import counts_below
from ml4ir_losses.ops.kernels.gradients import with_gradient
from ml4ir_losses.ops.kernels.odds import odds, powers
from ml4ir_losses.ops.kernels.stripes import Stripe, dense_sums, extents_of, stripe_sums
from ml4ir_losses.ops.masking import row_sum
from ml4ir_losses.ops.pair_terms import ExponentialTerm, Term
from ml4ir_losses.ops.sorting import rank_table


def dense_pair_sums(
    term: Term, labels: Tensor, scores: Tensor, mask: Tensor, weight: Tensor, pair_weights: Tensor
) -> Tensor:
    """Σ w_i·Λ_ij·term(s_i - s_j) over the pairs y_i > y_j of valid documents, [B]; weights Λ [B, N, N]."""
    pairs = ops.logical_and(valid_pairs(mask), pair_differences(labels) > 0)
    values, _ = term(pair_differences(scores))
    return ops.sum(ops.where(pairs, weight[:, :, None] * pair_weights * values, 0.0), axis=(1, 2))


class Weighing(Protocol):
    """The weight of a pair as a function of its two documents."""

    symmetric: ClassVar[bool]
    """True if Λ_ij = Λ_ji."""

    def between(self, row: Sequence[Tensor], column: Sequence[Tensor], step: Tensor | None) -> Tensor:
        """Λ of the pair (row, column), from the fields of both documents and `distance_table[|i - j|]` (or None)."""


@dataclass(frozen=True)
class _PairStripe(Stripe):
    """For each row i: Σ_j Λ_ij·term, and the derivative in s_i of all pairs (i, j) and (j, i)."""

    term: Term
    num_scores: int  # scores of a document: those of a pair are differences, which are added
    weighted: bool
    all_pairs: bool
    weighing: Weighing | None
    num_fields: int  # fields of a document that `weighing` reads

    def prepare(self, documents: Sequence[Tensor]) -> Sequence[Tensor]:
        if not isinstance(self.term, ExponentialTerm):
            return documents
        all_powers = [powers(x) for x in documents[1 : self.num_scores + 1]]
        if not all_powers[0]:
            return documents
        fraction, inverse = (reduce(multiply, (x[i] for x in all_powers)) for i in (0, 1))
        return [*documents, fraction, inverse, sum(x[2] for x in all_powers)]

    def __call__(
        self, rows: Sequence[Tensor], columns: Sequence[Tensor], at_distance: Tensor | None
    ) -> tuple[tuple[Tensor, Tensor], tuple[()]]:
        (row_label, *row), (column_label, *column) = rows, columns
        difference = row[0] - column[0]
        for row_score, column_score in zip(row[1 : self.num_scores], column[1 : self.num_scores], strict=True):
            difference = difference + (row_score - column_score)
        row, column = row[self.num_scores :], column[self.num_scores :]
        weights = (row.pop(0), column.pop(0)) if self.weighted else ()
        is_pair, is_reverse = _pair_masks(row_label, column_label, self.all_pairs)
        # `slope` is the derivative of the term of (i, j), `reverse` that of the term of (j, i).
        if isinstance(self.term, ExponentialTerm) and len(row) > self.num_fields:
            ratio = odds(row[self.num_fields :], column[self.num_fields :])
            value, slope, reverse = self.term.of_odds(difference, ratio)
        elif self.all_pairs:
            value, slope = self.term(difference)
            _, reverse = self.term(-difference)
        else:
            value, slope = self.term(_better_minus_worse(is_pair, is_reverse, difference))
            reverse = slope
        if weights:
            slope, reverse = weights[0] * slope, weights[1] * reverse
        if self.weighing is not None:
            row, column = row[: self.num_fields], column[: self.num_fields]
            factor = self.weighing.between(row, column, at_distance)
            value, slope = factor * value, factor * slope
            if not self.weighing.symmetric:
                if at_distance is not None and len(at_distance.shape) == 3:  # Λ itself
                    at_distance = ops.swapaxes(at_distance, 1, 2)
                factor = self.weighing.between(column, row, at_distance)
            reverse = factor * reverse
        if self.all_pairs:
            slopes = _where_pair(is_pair, slope - reverse)
        else:
            slopes = _where_either(is_pair, slope, is_reverse, -reverse)
        return (row_sum(_where_pair(is_pair, value)), row_sum(slopes)), ()


def _pair_masks(row_label: Tensor, column_label: Tensor, all_pairs: bool) -> tuple[Tensor, Tensor]:
    """Where (i, j) is a pair, and where (j, i) is: booleans, or 1, 0 and NaN where selects are slow."""
    as_numbers = has_slow_selects()
    if all_pairs:
        valid = [ops.cast(x == x, x.dtype) if as_numbers else x == x for x in (row_label, column_label)]  # not NaN
        both = valid[0] * valid[1] if as_numbers else ops.logical_and(*valid)
        return both, both
    if as_numbers:
        sign = ops.sign(row_label - column_label)
        return ops.relu(sign), ops.relu(-sign)
    return row_label > column_label, row_label < column_label


def _where_pair(is_pair: Tensor, x: Tensor) -> Tensor:
    """x where the mask is true, else 0, even if x is NaN there."""
    if has_slow_selects():
        return nan_to_zero(is_pair * x, in_place=True)
    return ops.where(is_pair, x, 0.0)


def _where_either(is_pair: Tensor, x: Tensor, is_reverse: Tensor, y: Tensor) -> Tensor:
    """x where the first mask is true, y where the second is, else 0."""
    if has_slow_selects():
        return _where_pair(is_pair, x) + _where_pair(is_reverse, y)
    return ops.where(is_pair, x, ops.where(is_reverse, y, 0.0))


def _better_minus_worse(is_pair: Tensor, is_reverse: Tensor, difference: Tensor) -> Tensor:
    """Score of the document with the higher label minus that of the other; arbitrary where they form no pair."""
    if has_slow_selects():
        return (is_pair - is_reverse) * difference
    return ops.where(is_reverse, -difference, difference)


class PairWeights(NamedTuple):
    """Weights Λ of the pairs: a function of two documents, and what it reads.

    Args:
        weighing: the function.
        fields: numbers per document that the function reads, [B, N] each.
        distance_table: numbers by the distance |i - j| of two documents, [N] or longer.
        matrix: Λ itself, [B, N, N].
        reach: Λ is 0 unless one of the two documents is among the first `reach`; None: no such limit.

    Without `weighing` Λ is 1 within `reach`.
    """

    weighing: Weighing | None = None
    fields: tuple[Tensor, ...] = ()
    distance_table: Tensor | None = None
    matrix: Tensor | None = None
    reach: int | None = None


@dataclass(frozen=True)
class _Matrix:
    """Returns Λ from a matrix [B, N, N]."""

    symmetric: ClassVar[bool] = False

    def between(self, row: Sequence[Tensor], column: Sequence[Tensor], step: Tensor | None) -> Tensor:
        return step


def given_weights(weights: Tensor) -> PairWeights:
    """User-defined pair weights Λ as a full tensor, [B, N, N]."""
    return PairWeights(_Matrix(), matrix=ops.stop_gradient(weights))


def pair_sums(
    term: Term,
    labels: Tensor,
    scores: Tensor | tuple[Tensor, ...],
    mask: Tensor,
    weight: Tensor | None = None,
    pair_weights: PairWeights | None = None,
    all_pairs: bool = False,
) -> Tensor:
    """Σ w_i·Λ_ij·term(s_i - s_j) over the pairs y_i > y_j, [B]; memory B·N plus one stripe.

    Value and gradient come from one pass. Labels and Λ get no gradient.

    Args:
        scores: [B, N]; or a tuple, whose differences s_i - s_j are added instead of the scores, to keep all digits.
        weight: w, [B, N]; None: 1.
        pair_weights: Λ; None: 1. If Λ depends on ranks, the documents must be sorted by rank.
        all_pairs: sum over all (i, j) of valid documents, including (i, i), instead of y_i > y_j.
    """
    parts = scores if isinstance(scores, tuple) else (scores,)
    inputs = parts if weight is None else (*parts, weight)
    key = ops.where(mask, ops.stop_gradient(labels), float("nan"))
    weighing, fields, distance_table, matrix, reach = pair_weights or (None, (), None, None, None)
    stripe = _PairStripe(term, len(parts), weight is not None, all_pairs, weighing, len(fields))
    tables = [x for x in (distance_table, matrix) if x is not None]

    def total(*tensors: Tensor) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, ...]]]:
        key, *others = tensors[len(inputs) :]
        documents = [key, *tensors[: len(inputs)], *others[: len(fields)]]
        values, slopes = _stripe_sums(stripe, documents, others[len(fields) :], matrix is not None, reach)

        def pull_back(upstream: Tensor) -> tuple[Tensor, ...]:
            upstream = upstream[:, None]
            slope = upstream * slopes
            return (slope,) * len(parts) + ((upstream * values,) if weight is not None else ())

        return row_sum(values if weight is None else tensors[len(parts)] * values), pull_back

    return with_gradient(total, inputs, (key, *fields, *tables))


def _stripe_sums(
    stripe: _PairStripe, documents: list[Tensor], tables: list[Tensor], has_matrix: bool, reach: int | None
) -> list[Tensor]:
    if has_matrix:
        return dense_sums(stripe, documents, documents, tables[0])
    extents, table = extents_of(documents[0] == documents[0]), tables[0] if tables else None
    if reach is None or reach >= (documents[0].shape[1] or reach + 1):
        return stripe_sums(stripe, (2, 0), documents, documents, extents, distance_table=table)
    # The first `reach` documents with all, and all others with these: other pairs have no weight.
    first, others = [x[:, :reach] for x in documents], [x[:, reach:] for x in documents]
    above = stripe_sums(stripe, (2, 0), first, documents, extents, distance_table=table)
    below = stripe_sums(stripe, (2, 0), others, first, extents, first_row=reach, distance_table=table)
    return [ops.concatenate(parts, axis=1) for parts in zip(above, below, strict=True)]


def ordered_pair_weight(labels: Tensor, mask: Tensor, weight: Tensor, reach: int | None = None) -> Tensor:
    """Σ w_i over the pairs y_i > y_j, [B]; with `reach`, over those with a document among the first `reach`."""
    partners = counts_below(labels, labels, mask)
    if reach is not None:
        within_reach = counts_below(labels, labels[:, :reach], mask[:, :reach])
        partners = ops.where(rank_table(labels) <= reach, partners, within_reach)
    return row_sum(weight * ops.cast(partners, weight.dtype))


def all_pair_weight(mask: Tensor, weight: Tensor, with_itself: bool = False, reach: int | None = None) -> Tensor:
    """Σ w_i over all (i, j) of valid documents, [B], including (i, i) if `with_itself`.

    With `reach`, over those with a document among the first `reach`; the valid documents then come first.
    """
    size = row_sum(ops.cast(mask, weight.dtype))
    partners = size if with_itself else ops.relu(size - 1.0)
    if reach is None:
        return partners * row_sum(weight)
    first = ops.where(size < reach, size, float(reach))  # not `minimum`: on torch it rounds float64 to float32
    return row_sum(weight * ops.where(rank_table(weight) <= reach, partners[:, None], first[:, None]))


def pairs_within(reach: int, like: Tensor) -> Tensor:
    """True where a document of the pair (i, j) is among the first `reach`, [N, N]."""
    first = rank_table(like) <= reach
    return ops.logical_or(first[:, None], first[None, :])


def valid_pairs(mask: Tensor) -> Tensor:
    """True where both documents are valid, [B, N, N]; includes (i, i)."""
    return ops.logical_and(mask[:, :, None], mask[:, None, :])


def pair_differences(x: Tensor) -> Tensor:
    """x_i - x_j, [B, N] → [B, N, N]."""
    return x[:, :, None] - x[:, None, :]
