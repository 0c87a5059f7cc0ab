"""Click models: which of the shown documents users click, sampled, and as probabilities in closed form.

Every model reads rows: `attraction` [rows], the probability that a document is clicked once it is examined, its shown
rank, and the index of its session. A session has at most one document at each rank.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.parameters import Fraction, NonNegative
from ml4ir_losses.core.registry import CLICK_MODELS, register_click_model


class ClickModel(Protocol):
    """A model of users who look at a ranked list."""

    def sample(self, attraction: Array, ranks: Array, session: Array, rng: np.random.Generator) -> Array:
        """Clicks, true or false, [rows]."""
        ...

    def probabilities(self, attraction: Array, ranks: Array, session: Array) -> Array:
        """The probability that each document is clicked, [rows]."""
        ...


def get_click_model(spec: str | Mapping[str, Any]) -> ClickModel:
    """The click model of a key or of `{"key": ..., <parameters>}`.

    Raises:
        UserError: for an unknown key or parameter.
    """
    return cast("ClickModel", CLICK_MODELS.create(spec))


@register_click_model("position_based", aliases=("pbm",))
@dataclass(frozen=True)
class PositionBased:
    r"""A document is examined with a probability that depends on its rank alone.

    $$P(c_r) = \theta_r a_r,\quad \theta_r = r^{-\eta}$$

    Args:
        eta: severity of the position bias, 0 for none.
        propensities: θ of ranks 1, 2, ... instead of `eta`; the last holds for all later ranks.

    Source: Richardson, Dominowska, Ragno, "Predicting clicks: estimating the click-through rate for new ads" (2007);
    Craswell et al., "An experimental comparison of click position-bias models" (2008).
    """

    eta: NonNegative = 1.0
    propensities: Sequence[Fraction] | None = None

    def examination(self, ranks: Array) -> Array:
        """θ, [rows]."""
        if self.propensities is None:
            return power_law(ranks, self.eta)
        return at_rank(self.propensities, ranks)

    def sample(self, attraction: Array, ranks: Array, session: Array, rng: np.random.Generator) -> Array:
        examined = rng.random(len(ranks)) < self.examination(ranks)
        attractive = rng.random(len(ranks)) < attraction
        return np.asarray(examined & attractive)

    def probabilities(self, attraction: Array, ranks: Array, session: Array) -> Array:
        return self.examination(ranks) * attraction


@register_click_model("dependent_click", aliases=("dcm",))
@dataclass(frozen=True)
class DependentClick:
    r"""Users read from the top and go on after a click at rank r with the probability λ.

    $$P(c_r) = e_r a_r,\quad e_1 = 1,\quad e_{r+1} = e_r (1 - a_r + \lambda_r a_r)$$

    Args:
        continuation: λ, one number or that of ranks 1, 2, ...; the last holds for all later ranks.

    Source: Guo, Liu, Wang, "Efficient multiple-click models in web search" (2009).
    """

    continuation: Fraction | Sequence[Fraction] = 0.6

    def _continues(self, rank: int) -> float:
        values = self.continuation if isinstance(self.continuation, Sequence) else (self.continuation,)
        return float(values[min(rank, len(values)) - 1])

    def sample(self, attraction: Array, ranks: Array, session: Array, rng: np.random.Generator) -> Array:
        stay, attractive = rng.random(len(ranks)), rng.random(len(ranks)) < attraction
        clicks, reads_on = np.zeros(len(ranks), bool), np.ones(_number(session), bool)
        for rank, rows in by_rank(ranks):
            clicks[rows] = reads_on[session[rows]] & attractive[rows]
            reads_on[session[rows]] &= ~clicks[rows] | (stay[rows] < self._continues(rank))
        return clicks

    def probabilities(self, attraction: Array, ranks: Array, session: Array) -> Array:
        result, examined = np.zeros(len(ranks)), np.ones(_number(session))
        for rank, rows in by_rank(ranks):
            a = attraction[rows]
            result[rows] = examined[session[rows]] * a
            examined[session[rows]] *= 1.0 - a * (1.0 - self._continues(rank))
        return result


@register_click_model("cascade")
@dataclass(frozen=True)
class Cascade(DependentClick):
    r"""Users read from the top until their first click: `dependent_click` with λ = 0.

    $$P(c_r) = a_r \prod_{i<r} (1 - a_i)$$

    Args:
        continuation: λ, the probability of going on after a click.

    Source: Craswell et al., "An experimental comparison of click position-bias models" (2008).
    """

    continuation: Fraction | Sequence[Fraction] = 0.0


@register_click_model("user_browsing", aliases=("ubm",))
@dataclass(frozen=True)
class UserBrowsing:
    r"""Examination depends on the rank and on its distance to the last click above it.

    $$P(c_r = 1 \mid \text{last click at } l) = a_r \gamma_{r,l},\quad \gamma_{r,l} = r^{-\eta} (r - l)^{-\delta}$$
    with l = 0 before the first click.

    Args:
        eta: η, how fast attention falls with the rank.
        delta: δ, how fast it falls with the distance to the last click.

    Source: Dupret, Piwowarski, "A user browsing model to predict search engine click data from past observations"
    (2008), where γ is a free parameter of each rank and distance.
    """

    eta: NonNegative = 0.5
    delta: NonNegative = 0.5

    def examination(self, rank: int, last: Array) -> Array:
        """γ for the ranks of the last clicks."""
        return power_law(np.asarray(rank), self.eta) * power_law(rank - last, self.delta)

    def sample(self, attraction: Array, ranks: Array, session: Array, rng: np.random.Generator) -> Array:
        looks, attractive = rng.random(len(ranks)), rng.random(len(ranks)) < attraction
        clicks, last = np.zeros(len(ranks), bool), np.zeros(_number(session), int)
        for rank, rows in by_rank(ranks):
            clicks[rows] = attractive[rows] & (looks[rows] < self.examination(rank, last[session[rows]]))
            last[session[rows[clicks[rows]]]] = rank
        return clicks

    def probabilities(self, attraction: Array, ranks: Array, session: Array) -> Array:
        result, width = np.zeros(len(ranks)), int(ranks.max(initial=0))
        is_last = np.zeros((_number(session), width + 1))  # the probability that the last click was at each rank
        is_last[:, 0] = 1.0
        for rank, rows in by_rank(ranks):
            clicked = attraction[rows, None] * self.examination(rank, np.arange(rank))
            before = is_last[session[rows], :rank]
            result[rows] = (before * clicked).sum(axis=1)
            is_last[session[rows], :rank] = before * (1.0 - clicked)
            is_last[session[rows], rank] = result[rows]
        return result


def power_law(ranks: Array, exponent: float) -> Array:
    """ranks ** -exponent."""
    return np.asarray(1.0 / np.asarray(ranks, float) ** exponent)


def at_rank(values: Sequence[float] | Array, ranks: Array) -> Array:
    """values[rank - 1]; the last value holds for all later ranks."""
    return np.asarray(np.asarray(values, float)[np.minimum(ranks, len(values)) - 1])


def by_rank(ranks: Array) -> Iterator[tuple[int, Array]]:
    """Each rank, ascending, with the indices of its rows."""
    order = np.argsort(ranks, kind="stable")
    found, starts = np.unique(ranks[order], return_index=True)
    yield from zip(found.tolist(), np.split(order, starts[1:]), strict=True)


def _number(session: Array) -> int:
    return int(session.max(initial=-1)) + 1
