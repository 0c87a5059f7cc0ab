"""Weights of pairs: functions of two documents and what they read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.ops.label_levels import LabelLevels
from ml4ir_losses.ops.separable import SeparableWeights


class Weighing(ABC):
    """The weight Λ of a pair as a function of its two documents; hashable and compared by value."""

    symmetric: ClassVar[bool] = False
    """True if Λ_ij = Λ_ji."""

    @abstractmethod
    def between(self, row: Sequence[Tensor], column: Sequence[Tensor], step: Tensor | None) -> Tensor:
        """Λ of the pair (row, column), from the fields of both documents and `distance_table[|i - j|]` (or None)."""

    @property
    def is_separable(self) -> bool:
        """True if `separated` gives Λ, so that no pair needs to be looked at.

        It must be defined where `between` is, or further down: a subclass may have another `between`.
        """
        classes = type(self).__mro__
        separated, between = (next(c for c in classes if name in vars(c)) for name in ("separated", "between"))
        return separated is not Weighing and classes.index(separated) <= classes.index(between)

    def separated(self, fields: Sequence[Tensor], levels: LabelLevels) -> SeparableWeights:
        """Λ as products of one factor per document, for documents in the order of their ranks; equal to `between`.

        Args:
            fields: those of the documents, [B, N] each.
            levels: those of the labels; a single one, of all documents, where all pairs count.
        """
        raise TypeError(f"{type(self).__name__} is not separable.")


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
class Matrix(Weighing):
    """Returns Λ from a matrix [B, N, N]."""

    def between(self, row: Sequence[Tensor], column: Sequence[Tensor], step: Tensor | None) -> Tensor:
        return step


def given_weights(weights: Tensor) -> PairWeights:
    """User-defined pair weights Λ as a full tensor, [B, N, N]."""
    return PairWeights(Matrix(), matrix=ops.stop_gradient(weights))
