"""Sums over the pairs of documents of a query, value and gradient in one pass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import mul as multiply
from typing import ClassVar, NamedTuple, Protocol

from ml4ir_losses.core.lazy import Tensor, keras, ops
from ml4ir_losses.ops.counting import counts_below
from ml4ir_losses.ops.kernels.logarithms import log1p_ratio
from ml4ir_losses.ops.kernels.loops import with_gradient
from ml4ir_losses.ops.kernels.odds import odds, powers
from ml4ir_losses.ops.kernels.stripes import Stripe, dense_sums, extents_of, stripe_sums
from ml4ir_losses.ops.masking import row_sum

Term = Callable[[Tensor], tuple[Tensor, Tensor]]
"""A function of the margin of a pair, and its derivative. Hashable, and equal to others that do the same."""


class Weighing(Protocol):
    """How much a pair counts by what is known of its two documents."""

    symmetric: ClassVar[bool]
    """True where (i, j) counts as (j, i) does, so that one serves for both."""

    def between(self, row: Sequence[Tensor], column: Sequence[Tensor], step: Tensor | None) -> Tensor:
        """Λ of the pair (row, column) from its facts and from the table's entry for the distance of their ranks."""


class OddsTerm(ABC):
    """A term that is made of e^-x, which kernels have at less than the price of an exponential."""

    @abstractmethod
    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The term at x and its derivative."""

    @abstractmethod
    def of_odds(self, x: Tensor, odds: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The term at x, its derivative at x and its derivative at -x, from e^-x too, float32."""


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
        # No `where` of numbers: torch takes them as float32, also beside float64.
        factor = (1.0 - self.tau) * ops.cast(x > 0, x.dtype) - self.tau * ops.cast(x < 0, x.dtype)
        if self.squared:
            return ops.abs(factor) * ops.square(x), 2.0 * ops.abs(factor) * x
        return factor * x, factor


@dataclass(frozen=True)
class _PairStripe(Stripe):
    """Value and slope of each row: Σ_j Λ·term and its derivative by the row's score, also as the second of a pair."""

    term: Term
    parts: int
    weighted: bool
    both: bool
    weighing: Weighing | None
    facts: int

    def prepare(self, documents: Sequence[Tensor]) -> Sequence[Tensor]:
        if not isinstance(self.term, OddsTerm):
            return documents
        each = [powers(x) for x in documents[1 : self.parts + 1]]
        if not each[0]:
            return documents
        fraction, inverse = (reduce(multiply, (x[i] for x in each)) for i in (0, 1))
        return [*documents, fraction, inverse, sum(x[2] for x in each)]

    def __call__(
        self, rows: Sequence[Tensor], columns: Sequence[Tensor], near: Tensor | None
    ) -> tuple[tuple[Tensor, Tensor], tuple[()]]:
        (label, *row), (other, *column) = rows, columns
        difference = row[0] - column[0]
        for one, two in zip(row[1 : self.parts], column[1 : self.parts], strict=True):
            difference = difference + (one - two)
        row, column = row[self.parts :], column[self.parts :]
        weights = (row.pop(0), column.pop(0)) if self.weighted else ()
        first, second = _flags(label, other, self.both)
        if isinstance(self.term, OddsTerm) and len(row) > self.facts:
            ratio = odds(row[self.facts :], column[self.facts :])
            value, slope, back = self.term.of_odds(difference, ratio)
        elif self.both:
            value, slope = self.term(difference)
            _, back = self.term(-difference)
        else:
            value, slope = self.term(_turned(first, second, difference))
            back = slope
        if weights:
            slope, back = weights[0] * slope, weights[1] * back
        if self.weighing is not None:
            factor = self.weighing.between(row[: self.facts], column[: self.facts], near)
            value, slope = factor * value, factor * slope
            if not self.weighing.symmetric:
                turned = near if near is None or len(near.shape) == 2 else ops.swapaxes(near, 1, 2)
                factor = self.weighing.between(column[: self.facts], row[: self.facts], turned)
            back = factor * back
        slopes = _kept(first, slope - back) if self.both else _either(first, slope, second, -back)
        return (row_sum(_kept(first, value)), row_sum(slopes)), ()


def _flags(label: Tensor, other: Tensor, both: bool) -> tuple[Tensor, Tensor]:
    """Which (i, j) are pairs and which (j, i) are: true or false, but on torch, where those are slow, 1 or 0 or NaN."""
    numbers = keras.backend.backend() == "torch"
    if both:  # all of documents, whose labels are not NaN
        known = [ops.cast(x == x, x.dtype) if numbers else x == x for x in (label, other)]
        valid = known[0] * known[1] if numbers else ops.logical_and(*known)
        return valid, valid
    if numbers:
        sign = ops.sign(label - other)
        return ops.relu(sign), ops.relu(-sign)
    return label > other, label < other


def _kept(flag: Tensor, x: Tensor) -> Tensor:
    """x of pairs, 0 of others, whatever it is there."""
    if keras.backend.backend() == "torch":
        kept = flag * x
        return kept.nan_to_num_(nan=0.0, posinf=float("inf"), neginf=-float("inf"))  # in its place: memory counts
    return ops.where(flag, x, 0.0)


def _either(first: Tensor, x: Tensor, second: Tensor, y: Tensor) -> Tensor:
    """x of the first pairs, y of the second, 0 of others."""
    if keras.backend.backend() == "torch":
        return _kept(first, x) + _kept(second, y)
    return ops.where(first, x, ops.where(second, y, 0.0))


def _turned(first: Tensor, second: Tensor, difference: Tensor) -> Tensor:
    """The score of the better document less that of the other; anything where they are no pair."""
    if keras.backend.backend() == "torch":
        return (first - second) * difference
    return ops.where(second, -difference, difference)


class PairWeights(NamedTuple):
    """Λ of the pairs of documents: what `between` needs of each, its table by distance of ranks, or Λ itself.

    With `reach`, Λ is 0 where neither document is among the first `reach`.
    """

    weighing: Weighing
    facts: tuple[Tensor, ...] = ()
    steps: Tensor | None = None
    given: Tensor | None = None
    reach: int | None = None


@dataclass(frozen=True)
class _Given:
    """Λ as it is."""

    symmetric: ClassVar[bool] = False

    def between(self, row: Sequence[Tensor], column: Sequence[Tensor], step: Tensor | None) -> Tensor:
        return step


def given_weights(weights: Tensor) -> PairWeights:
    """Λ as a tensor, [B, N, N]: for weights that come from outside."""
    return PairWeights(_Given(), given=ops.stop_gradient(weights))


def pair_sums(
    term: Term,
    labels: Tensor,
    scores: Tensor | tuple[Tensor, ...],
    mask: Tensor,
    weight: Tensor | None = None,
    pair_weights: PairWeights | None = None,
    both: bool = False,
) -> Tensor:
    """Σ w_i·Λ_ij·term(s_i - s_j) over the pairs y_i > y_j, [B]; memory B·N and that of a stripe.

    Value and gradient come from one pass. Labels and Λ get no gradient.

    Args:
        scores: [B, N]; a tuple of them is added up difference by difference, so that no digits are lost.
        weight: w, [B, N]; None: 1.
        pair_weights: Λ; None: 1. Where it depends on ranks, the documents are in the order of their ranks.
        both: over all (i, j) of valid documents, also (j, i) and (i, i), instead of y_i > y_j.
    """
    parts = scores if isinstance(scores, tuple) else (scores,)
    inputs = parts if weight is None else (*parts, weight)
    key = ops.where(mask, ops.stop_gradient(labels), float("nan"))
    facts, steps, given, reach = (), None, None, None
    if pair_weights is not None:
        facts, steps, given, reach = pair_weights[1:]
    stripe = _PairStripe(term, len(parts), weight is not None, both, pair_weights and pair_weights.weighing, len(facts))
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
        return stripe_sums(stripe, (2, 0), documents, documents, extents, steps=steps)
    # The first documents against all, and all others against the first: no more counts.
    first, others = [x[:, :reach] for x in documents], [x[:, reach:] for x in documents]
    above = stripe_sums(stripe, (2, 0), first, documents, extents, steps=steps)
    below = stripe_sums(stripe, (2, 0), others, first, extents, first_row=reach, steps=steps)
    return [ops.concatenate(both, axis=1) for both in zip(above, below, strict=True)]


def ordered_pair_weight(labels: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """Σ w_i over the pairs y_i > y_j, [B]."""
    return row_sum(weight * ops.cast(counts_below(labels, labels, mask), weight.dtype))


def all_pair_weight(mask: Tensor, weight: Tensor, itself: bool = False) -> Tensor:
    """Σ w_i over all (i, j) of valid documents, [B], also (i, i) where `itself`."""
    size = row_sum(ops.cast(mask, weight.dtype))
    return (size if itself else ops.relu(size - 1.0)) * row_sum(weight)


def valid_pairs(mask: Tensor) -> Tensor:
    """True where both documents are valid, [B, N, N]; a document makes a pair with itself too."""
    return ops.logical_and(mask[:, :, None], mask[:, None, :])


def pair_differences(x: Tensor) -> Tensor:
    """x_i - x_j, [B, N] → [B, N, N]."""
    return x[:, :, None] - x[:, None, :]


def logistic(margins: Tensor) -> Tensor:
    """ln(1 + e^-x)."""
    return -ops.log_sigmoid(margins)
