"""The terms of the probabilistic margin losses for `pair_sums`: functions of a score difference, with derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.ops.pair_terms import Scaled, ShiftedTerm, SoftZeroOne
from ml4ir_losses.ops.weighing import Weighing


@dataclass(frozen=True)
class Shortfall(ShiftedTerm):
    """σ(scale·(margin - d) - shift) of the difference d = x/T."""

    temperature: float
    margin: float
    scale: float = 1.0
    shift: float = 0.0

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        value, slope = SoftZeroOne()(self.scale * (x / self.temperature - self.margin) + self.shift)
        return value, slope * (self.scale / self.temperature)

    @property
    def unshifted(self) -> Scaled:
        return Scaled(SoftZeroOne(), self.scale / self.temperature)

    @property
    def offset(self) -> float:
        return self.temperature * (self.margin - self.shift / self.scale)


@dataclass(frozen=True)
class Nearness:
    """v = σ(steepness·(margin - |d|)) of the difference d = x/T, near 1 for small differences."""

    temperature: float
    margin: float
    steepness: float

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        value, slope = self.by_size(ops.abs(x) / self.temperature)
        return value, slope * ops.sign(x) / self.temperature

    def by_size(self, size: Tensor) -> tuple[Tensor, Tensor]:
        value, slope = SoftZeroOne()(self.steepness * (size - self.margin))
        return value, self.steepness * slope


@dataclass(frozen=True)
class NearDifference(Nearness):
    """|d|·v, the small differences themselves."""

    def by_size(self, size: Tensor) -> tuple[Tensor, Tensor]:
        value, slope = super().by_size(size)
        return size * value, value + size * slope


@dataclass(frozen=True)
class LowerConfidence(Weighing):
    """The smaller confidence of the two documents."""

    symmetric: ClassVar[bool] = True

    def between(self, row: Sequence[Tensor], column: Sequence[Tensor], step: Tensor | None) -> Tensor:
        return ops.where(row[0] < column[0], row[0], column[0])  # `minimum` rounds float64 to float32 on torch
