"""Terms of pair losses: elementwise functions of the margin x = s_i - s_j, with their derivatives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.ops.kernels.logarithms import log1p_ratio

Term = Callable[[Tensor], tuple[Tensor, Tensor]]
"""A function of the margin of a pair that returns value and derivative; hashable and compared by value."""


class ExponentialTerm(ABC):
    """A term that is a function of e^-x, and a sum of exponentials to the last digit of float32.

    For u ≥ 0, f(u) = Σ_k c_k e^(-λ_k u) and f(-u) = sign·Σ_k c_k e^(-λ_k u) + constant + growth·u, the same in the
    derivative. λ_1 = c_1 = 1, so that small terms are exact too. tools/fit_exponentials.py computes the numbers.

    Args:
        rates: λ_k.
        factors: c_k.
    """

    rates: tuple[float, ...]
    factors: tuple[float, ...]
    sign: float
    constant: float
    growth: float

    @abstractmethod
    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The term and its derivative at x."""

    @abstractmethod
    def of_odds(self, x: Tensor, odds: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The term at x, its derivatives at x and at -x, and the term at -x, from x and odds = e^-x in float32."""


@dataclass(frozen=True)
class Logistic(ExponentialTerm):
    """ln(1 + e^(-x))."""

    rates = (1.0, 2.00002735, 2.99307643, 4.2345309, 4.74938137, 5.29755028, 5.83512552, 6.55058472)
    factors = (
        1.0, -0.500092982475, 0.32477232631, -0.493047312971,
        0.631081672134, -0.36913860843, 0.109045020273, -0.00947293423943,
    )  # fmt: skip
    sign = 1.0
    constant = 0.0
    growth = 1.0

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return logistic(x), -ops.sigmoid(-x)

    def of_odds(self, x: Tensor, odds: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        sigmoid = 1.0 / (1.0 + odds)
        share = log1p_ratio(ops.minimum(odds, 1.0), ops.maximum(odds, 1.0))
        return share + ops.relu(-x), -odds * sigmoid, -sigmoid, share + ops.relu(x)


@dataclass(frozen=True)
class SoftZeroOne(ExponentialTerm):
    """σ(-x)."""

    rates = (
        1.0, 1.99999747, 2.99712279, 4.12296059, 4.78687178, 5.43494311, 6.30880468, 7.27291637, 8.38363537,
    )  # fmt: skip
    factors = (
        1.0, -1.00000585294, 0.986231393442, -1.42993273053, 1.68797836435,
        -0.96565994121, 0.266400793862, -0.0491335606224, 0.00412153359211,
    )  # fmt: skip
    sign = -1.0
    constant = 1.0
    growth = 0.0

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        value = ops.sigmoid(-x)
        return value, -value * ops.sigmoid(x)

    def of_odds(self, x: Tensor, odds: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        sigmoid = 1.0 / (1.0 + odds)
        value = odds * sigmoid
        slope = -value * sigmoid
        return value, slope, slope, sigmoid


@dataclass(frozen=True)
class Scaled(ExponentialTerm):
    """f(scale·x): scores times the scale would lose digits that their differences have."""

    term: ExponentialTerm
    scale: float

    def __post_init__(self) -> None:
        fixed = {name: getattr(self.term, name) for name in ("factors", "sign", "constant")}
        rates = tuple(self.scale * rate for rate in self.term.rates)
        for name, value in {**fixed, "rates": rates, "growth": self.scale * self.term.growth}.items():
            object.__setattr__(self, name, value)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        value, slope = self.term(self.scale * x)
        return value, self.scale * slope

    def of_odds(self, x: Tensor, odds: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        value, slope, reverse_slope, reverse = self.term.of_odds(self.scale * x, odds)
        return value, self.scale * slope, self.scale * reverse_slope, reverse


class ShiftedTerm(ABC):
    """A term that is an exponential term of x - offset."""

    @property
    @abstractmethod
    def unshifted(self) -> ExponentialTerm:
        """The exponential term."""

    @property
    @abstractmethod
    def offset(self) -> float:
        """The offset, in units of the scores."""


class Pieces(NamedTuple):
    """below·max(0, margin - x)^power + above·max(0, x - margin)^power, power 1 or 2; margin > 0 only with power 1."""

    below: float
    above: float
    margin: float = 0.0
    power: int = 1


class PiecewiseTerm(ABC):
    """A term that is a polynomial on each side of a margin."""

    @property
    @abstractmethod
    def pieces(self) -> Pieces:
        """The polynomials."""

    @abstractmethod
    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The term and its derivative at x."""


@dataclass(frozen=True)
class Hinge(PiecewiseTerm):
    """max(0, margin - x)."""

    margin: float = 1.0

    @property
    def pieces(self) -> Pieces:
        return Pieces(1.0, 0.0, self.margin)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        gap = self.margin - x
        return ops.relu(gap), ops.where(gap > 0, -1.0, ops.zeros_like(x))


@dataclass(frozen=True)
class Square(PiecewiseTerm):
    """x²."""

    @property
    def pieces(self) -> Pieces:
        return Pieces(1.0, 1.0, power=2)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return ops.square(x), 2.0 * x


@dataclass(frozen=True)
class Quantile(PiecewiseTerm):
    """τ·max(0, -x) + (1 - τ)·max(0, x); `squared`: τ·max(0, -x)² + (1 - τ)·max(0, x)²."""

    tau: float = 0.5
    squared: bool = False

    @property
    def pieces(self) -> Pieces:
        return Pieces(self.tau, 1.0 - self.tau, power=2 if self.squared else 1)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        # Not `where` of two Python numbers, which is float32 on torch even for float64 inputs.
        factor = (1.0 - self.tau) * ops.cast(x > 0, x.dtype) - self.tau * ops.cast(x < 0, x.dtype)
        if self.squared:
            return ops.abs(factor) * ops.square(x), 2.0 * ops.abs(factor) * x
        return factor * x, factor


def logistic(x: Tensor) -> Tensor:
    """ln(1 + e^-x), without a derivative of its own."""
    return ops.log1p(ops.exp(-ops.abs(x))) + ops.relu(-x)  # TensorFlow's `softplus` takes twice as long
