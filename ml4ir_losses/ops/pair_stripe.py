"""The function of pairs of documents that `stripe_sums` calls for pair losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import mul as multiply

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.ops.backend import has_slow_selects, nan_to_zero
from ml4ir_losses.ops.kernels.odds import odds, powers
from ml4ir_losses.ops.kernels.stripes import Stripe
from ml4ir_losses.ops.masking import row_sum
from ml4ir_losses.ops.pair_terms import ExponentialTerm, Term
from ml4ir_losses.ops.weighing import Matrix, Weighing


@dataclass(frozen=True)
class PairStripe(Stripe):
    """For each document i: Σ_j Λ_ij·term, and the derivative in s_i of all pairs (i, j) and (j, i)."""

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
    ) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        (row_label, *row), (column_label, *column) = rows, columns
        difference = row[0] - column[0]
        for row_score, column_score in zip(row[1 : self.num_scores], column[1 : self.num_scores], strict=True):
            difference = difference + (row_score - column_score)
        row, column = row[self.num_scores :], column[self.num_scores :]
        weights = (row.pop(0), column.pop(0)) if self.weighted else ()
        is_pair, is_reverse = _pair_masks(row_label, column_label, self.all_pairs)
        # `value` and `slope` are the term of (i, j) and its derivative, the others those of (j, i).
        if isinstance(self.term, ExponentialTerm) and len(row) > self.num_fields:
            ratio = odds(row[self.num_fields :], column[self.num_fields :])
            value, slope, reverse_slope, reverse = self.term.of_odds(difference, ratio)
        elif self.all_pairs:
            value, slope = self.term(difference)
            reverse, reverse_slope = self.term(-difference)
        else:
            value, slope = self.term(_better_minus_worse(is_pair, is_reverse, difference))
            reverse, reverse_slope = value, slope
        if weights:
            slope, reverse_slope = weights[0] * slope, weights[1] * reverse_slope
        if self.weighing is not None:
            row, column = row[: self.num_fields], column[: self.num_fields]
            factor = self.weighing.between(row, column, at_distance)
            value, slope = factor * value, factor * slope
            if not self.weighing.symmetric:
                if at_distance is not None and isinstance(self.weighing, Matrix):
                    at_distance = ops.swapaxes(at_distance, 1, 2)
                factor = self.weighing.between(column, row, at_distance)
            reverse, reverse_slope = factor * reverse, factor * reverse_slope
        if self.all_pairs:
            slopes = _where_pair(is_pair, slope - reverse_slope)
        else:
            slopes = _where_either(is_pair, slope, is_reverse, -reverse_slope)
        values, reverses = _where_pair(is_pair, value), _where_pair(is_reverse, reverse)
        return (row_sum(values), row_sum(slopes)), (ops.sum(reverses, axis=1), -ops.sum(slopes, axis=1))


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
