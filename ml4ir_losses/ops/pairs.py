"""Sums of a function of score differences over the pairs of documents of a query, value and gradient in one pass.

`pair_sums` computes `dense_pair_sums` with the memory of one stripe of pairs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import mul as multiply
from typing import ClassVar, NamedTuple, Protocol

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.ops.backend import has_slow_selects, nan_to_zero
from ml4ir_losses.ops.counting import counts_below
from ml4ir_losses.ops.kernels.gradients import with_gradient
from ml4ir_losses.ops.kernels.logarithms import log1p_ratio
from ml4ir_losses.ops.kernels.odds import odds, powers
from ml4ir_losses.ops.kernels.stripes import Stripe, dense_sums, extents_of, stripe_sums
from ml4ir_losses.ops.masking import row_sum
from ml4ir_losses.ops.sorting import rank_table

Term = Callable[[Tensor], tuple[Tensor, Tensor]]
"""A function of the margin of a pair, and its derivative. Hashable, and equal to others that do the same."""


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
        """Λ of the pair (row, column) from its fields and from the table's entry for the distance of their ranks."""


class OddsTerm(ABC):
    """A term that is a function of e^-x, which kernels compute without an exponential per pair."""

    @abstractmethod
    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The term at x and its derivative."""

    @abstractmethod
    def of_odds(self, x: Tensor, odds: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The term at x and its derivatives at x and at -x, given x and odds = e^-x, float32."""


@dataclass(frozen=True)
class Logistic(OddsTerm):
    """ln(1 + e^(-x))."""

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return -ops.log_sigmoid(x), -ops.sigmoid(-x)

    def of_odds(self, x: Tensor, odds: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        share = 1.0 / (1.0 + odds)
        return log1p_ratio(ops.minimum(odds, 1.0), ops.maximum(odds, 1.0)) + ops.relu(-x), -odds * share, -share


@dataclass(frozen=True)
class SoftZeroOne(OddsTerm):
    """σ(-x)."""

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        value = ops.sigmoid(-x)
        return value, -value * ops.sigmoid(x)

    def of_odds(self, x: Tensor, odds: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        share = 1.0 / (1.0 + odds)
        value = odds * share
        slope = -value * share
        return value, slope, slope


@dataclass(frozen=True)
class Hinge:
    """max(0, margin - x)."""

    margin: float = 1.0

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        missing = self.margin - x
        return ops.relu(missing), ops.where(missing > 0, -1.0, ops.zeros_like(x))


@dataclass(frozen=True)
class Square:
    """x²."""

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return ops.square(x), 2.0 * x


@dataclass(frozen=True)
class Quantile:
    """τ·max(0, -x) + (1 - τ)·max(0, x), or of the squares."""

    tau: float = 0.5
    squared: bool = False

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        # No `where` of two Python numbers, which is float32 on torch, also beside float64.
        factor = (1.0 - self.tau) * ops.cast(x > 0, x.dtype) - self.tau * ops.cast(x < 0, x.dtype)
        if self.squared:
            return ops.abs(factor) * ops.square(x), 2.0 * ops.abs(factor) * x
        return factor * x, factor


@dataclass(frozen=True)
class _PairStripe(Stripe):
    """Σ_j Λ_ij·term of each row i, and the derivative of all its pairs, also as their second document, by s_i."""

    term: Term
    parts: int
    weighted: bool
    all_pairs: bool
    weighing: Weighing | None
    fields: int

    def prepare(self, documents: Sequence[Tensor]) -> Sequence[Tensor]:
        if not isinstance(self.term, OddsTerm):
            return documents
        each = [powers(x) for x in documents[1 : self.parts + 1]]
        if not each[0]:
            return documents
        fraction, inverse = (reduce(multiply, (x[i] for x in each)) for i in (0, 1))
        return [*documents, fraction, inverse, sum(x[2] for x in each)]

    def __call__(
        self, rows: Sequence[Tensor], columns: Sequence[Tensor], at_distance: Tensor | None
    ) -> tuple[tuple[Tensor, Tensor], tuple[()]]:
        (label, *row), (other, *column) = rows, columns
        difference = row[0] - column[0]
        for part, other_part in zip(row[1 : self.parts], column[1 : self.parts], strict=True):
            difference = difference + (part - other_part)
        row, column = row[self.parts :], column[self.parts :]
        weights = (row.pop(0), column.pop(0)) if self.weighted else ()
        first, second = _flags(label, other, self.all_pairs)
        if isinstance(self.term, OddsTerm) and len(row) > self.fields:
            ratio = odds(row[self.fields :], column[self.fields :])
            value, slope, back = self.term.of_odds(difference, ratio)
        elif self.all_pairs:
            value, slope = self.term(difference)
            _, back = self.term(-difference)
        else:
            value, slope = self.term(_better_less_worse(first, second, difference))
            back = slope
        if weights:
            slope, back = weights[0] * slope, weights[1] * back
        if self.weighing is not None:
            factor = self.weighing.between(row[: self.fields], column[: self.fields], at_distance)
            value, slope = factor * value, factor * slope
            if not self.weighing.symmetric:
                if at_distance is not None and len(at_distance.shape) == 3:  # Λ itself
                    at_distance = ops.swapaxes(at_distance, 1, 2)
                factor = self.weighing.between(column[: self.fields], row[: self.fields], at_distance)
            back = factor * back
        slopes = _where_pair(first, slope - back) if self.all_pairs else _either(first, slope, second, -back)
        return (row_sum(_where_pair(first, value)), row_sum(slopes)), ()


def _flags(label: Tensor, other: Tensor, all_pairs: bool) -> tuple[Tensor, Tensor]:
    """Where (i, j) is a pair, and where (j, i) is: booleans, or 1, 0 and NaN where selects are slow."""
    numbers = has_slow_selects()
    if all_pairs:
        known = [ops.cast(x == x, x.dtype) if numbers else x == x for x in (label, other)]  # not NaN
        valid = known[0] * known[1] if numbers else ops.logical_and(*known)
        return valid, valid
    if numbers:
        sign = ops.sign(label - other)
        return ops.relu(sign), ops.relu(-sign)
    return label > other, label < other


def _where_pair(flag: Tensor, x: Tensor) -> Tensor:
    """x where the flag marks a pair, else 0, also where x is NaN."""
    if has_slow_selects():
        return nan_to_zero(flag * x, in_place=True)
    return ops.where(flag, x, 0.0)


def _either(first: Tensor, x: Tensor, second: Tensor, y: Tensor) -> Tensor:
    """x where the first flag marks a pair, y where the second does, else 0."""
    if has_slow_selects():
        return _where_pair(first, x) + _where_pair(second, y)
    return ops.where(first, x, ops.where(second, y, 0.0))


def _better_less_worse(first: Tensor, second: Tensor, difference: Tensor) -> Tensor:
    """The score of the document with the higher label less that of the other; arbitrary where they are no pair."""
    if has_slow_selects():
        return (first - second) * difference
    return ops.where(second, -difference, difference)


class PairWeights(NamedTuple):
    """Λ of the pairs of documents: the arguments of `weighing.between`.

    Args:
        facts: fields of each document, [B, N].
        steps: a table by distance of ranks, [N] or longer.
        given: Λ itself, [B, N, N].
        reach: Λ is 0 where neither document is among the first `reach`; None: no such limit.

    Without `weighing` Λ is 1 within `reach`.
    """

    weighing: Weighing | None = None
    facts: tuple[Tensor, ...] = ()
    steps: Tensor | None = None
    given: Tensor | None = None
    reach: int | None = None


@dataclass(frozen=True)
class _Given:
    """Λ itself, [B, N, N]."""

    symmetric: ClassVar[bool] = False

    def between(self, row: Sequence[Tensor], column: Sequence[Tensor], step: Tensor | None) -> Tensor:
        return step


def given_weights(weights: Tensor) -> PairWeights:
    """User-defined pair weights Λ as a full tensor, [B, N, N]."""
    return PairWeights(_Given(), given=ops.stop_gradient(weights))


def pair_sums(
    term: Term,
    labels: Tensor,
    scores: Tensor | tuple[Tensor, ...],
    mask: Tensor,
    weight: Tensor | None = None,
    pair_weights: PairWeights | None = None,
    all_pairs: bool = False,
) -> Tensor:
    """Σ w_i·Λ_ij·term(s_i - s_j) over the pairs y_i > y_j, [B]; memory B·N and that of a stripe.

    Value and gradient come from one pass. Labels and Λ get no gradient.

    Args:
        scores: [B, N]; of a tuple the differences are added, not the scores, so that no digits are lost.
        weight: w, [B, N]; None: 1.
        pair_weights: Λ; None: 1. Where it depends on ranks, the documents are in the order of their ranks.
        all_pairs: sum over all (i, j) of valid documents, with (j, i) and (i, i), instead of y_i > y_j.
    """
    parts = scores if isinstance(scores, tuple) else (scores,)
    inputs = parts if weight is None else (*parts, weight)
    key = ops.where(mask, ops.stop_gradient(labels), float("nan"))
    facts, steps, given, reach = (), None, None, None
    if pair_weights is not None:
        facts, steps, given, reach = pair_weights[1:]
    weighing = pair_weights and pair_weights.weighing
    stripe = _PairStripe(term, len(parts), weight is not None, all_pairs, weighing, len(facts))
    tables = [x for x in (steps, given) if x is not None]

    def total(*tensors: Tensor) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, ...]]]:
        key, *others = tensors[len(inputs) :]
        documents = [key, *tensors[: len(inputs)], *others[: len(facts)]]
        values, slopes = _sums(stripe, documents, others[len(facts) :], given is not None, reach)

        def pull_back(upstream: Tensor) -> tuple[Tensor, ...]:
            upstream = upstream[:, None]
            slope = upstream * slopes
            return (slope,) * len(parts) + ((upstream * values,) if weight is not None else ())

        return row_sum(values if weight is None else tensors[len(parts)] * values), pull_back

    return with_gradient(total, inputs, (key, *facts, *tables))


def _sums(
    stripe: _PairStripe, documents: list[Tensor], tables: list[Tensor], given: bool, reach: int | None
) -> list[Tensor]:
    if given:
        return dense_sums(stripe, documents, documents, tables[0])
    extents, steps = extents_of(documents[0] == documents[0]), tables[0] if tables else None
    if reach is None or reach >= (documents[0].shape[1] or reach + 1):
        return stripe_sums(stripe, (2, 0), documents, documents, extents, distance_table=steps)
    # The first `reach` documents against all, and all others against these: other pairs have no weight.
    first, others = [x[:, :reach] for x in documents], [x[:, reach:] for x in documents]
    above = stripe_sums(stripe, (2, 0), first, documents, extents, distance_table=steps)
    below = stripe_sums(stripe, (2, 0), others, first, extents, first_row=reach, distance_table=steps)
    return [ops.concatenate(parts, axis=1) for parts in zip(above, below, strict=True)]


def ordered_pair_weight(labels: Tensor, mask: Tensor, weight: Tensor, reach: int | None = None) -> Tensor:
    """Σ w_i over the pairs y_i > y_j, [B]; with `reach`, over those with a document among the first `reach`."""
    partners = counts_below(labels, labels, mask)
    if reach is not None:
        within_reach = counts_below(labels, labels[:, :reach], mask[:, :reach])
        partners = ops.where(rank_table(labels) <= reach, partners, within_reach)
    return row_sum(weight * ops.cast(partners, weight.dtype))


def all_pair_weight(mask: Tensor, weight: Tensor, with_itself: bool = False, reach: int | None = None) -> Tensor:
    """Σ w_i over all (i, j) of valid documents, [B], with (i, i) if `with_itself`.

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
    """True where both documents are valid, [B, N, N]; a document makes a pair with itself too."""
    return ops.logical_and(mask[:, :, None], mask[:, None, :])


def pair_differences(x: Tensor) -> Tensor:
    """x_i - x_j, [B, N] → [B, N, N]."""
    return x[:, :, None] - x[:, None, :]


def logistic(margins: Tensor) -> Tensor:
    """ln(1 + e^-x)."""
    return -ops.log_sigmoid(margins)
