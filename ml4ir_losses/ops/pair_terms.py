"""Terms of pair losses: elementwise functions of the margin x = s_i - s_j, with their derivatives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.ops.kernels.logarithms import log1p_ratio

Term = Callable[[Tensor], tuple[Tensor, Tensor]]
"""A function of the margin of a pair that returns value and derivative; hashable and compared by value."""


class OddsTerm(ABC):
    """A term that is a function of e^-x: kernels then compute one exponential per document, not one per pair."""

    @abstractmethod
    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The term and its derivative at x."""

    @abstractmethod
    def of_odds(self, x: Tensor, odds: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The term at x, and its derivatives at x and at -x, from x and odds = e^-x in float32."""


@dataclass(frozen=True)
class Logistic(OddsTerm):
    """ln(1 + e^(-x))."""

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return -ops.log_sigmoid(x), -ops.sigmoid(-x)

    def of_odds(self, x: Tensor, odds: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        sigmoid = 1.0 / (1.0 + odds)
        return log1p_ratio(ops.minimum(odds, 1.0), ops.maximum(odds, 1.0)) + ops.relu(-x), -odds * sigmoid, -sigmoid


@dataclass(frozen=True)
class SoftZeroOne(OddsTerm):
    """σ(-x)."""

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        value = ops.sigmoid(-x)
        return value, -value * ops.sigmoid(x)

    def of_odds(self, x: Tensor, odds: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        sigmoid = 1.0 / (1.0 + odds)
        value = odds * sigmoid
        slope = -value * sigmoid
        return value, slope, slope


@dataclass(frozen=True)
class Hinge:
    """max(0, margin - x)."""

    margin: float = 1.0

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        gap = self.margin - x
        return ops.relu(gap), ops.where(gap > 0, -1.0, ops.zeros_like(x))


@dataclass(frozen=True)
class Square:
    """x²."""

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return ops.square(x), 2.0 * x


@dataclass(frozen=True)
class Quantile:
    """τ·max(0, -x) + (1 - τ)·max(0, x); `squared`: τ·max(0, -x)² + (1 - τ)·max(0, x)²."""

    tau: float = 0.5
    squared: bool = False

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        # Not `where` of two Python numbers, which is float32 on torch even for float64 inputs.
        factor = (1.0 - self.tau) * ops.cast(x > 0, x.dtype) - self.tau * ops.cast(x < 0, x.dtype)
        if self.squared:
            return ops.abs(factor) * ops.square(x), 2.0 * ops.abs(factor) * x
        return factor * x, factor


def logistic(x: Tensor) -> Tensor:
    """ln(1 + e^-x), without a derivative of its own."""
    return -ops.log_sigmoid(x)
