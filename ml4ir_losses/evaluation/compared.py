"""The rows of a comparison: what was measured, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.evaluation.statistics import LEVEL

Kind = Literal["loss", "library", "baseline"]


@dataclass
class Row:
    """What was measured of a loss, a library or a baseline.

    Attributes:
        name: unique, as it is shown.
        spec: the loss as it stands in a config.
        kind: `loss`, `library` or `baseline`.
        values: of the compared metric, [S, Q]; [1, Q] for what has no seeds. NaN for a query that does not count.
        learning_rate: the chosen one.
        trials: number of settings that were tried.
        runs: number of trained models.
        seconds: of all runs.
        memory_mib: peak memory.
        metrics: means of all metrics.
        error: why there are no values.
    """

    name: str
    spec: Any = None
    kind: Kind = "loss"
    values: Array | None = None
    learning_rate: float | None = None
    trials: int | None = None
    runs: int | None = None
    seconds: float | None = None
    memory_mib: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None


class Frozen(BaseModel):
    """Plain data, written as strict JSON."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="null")


class Difference(Frozen):
    """A row less another row: the difference of their means, its 95% interval, the p value and Holm's."""

    difference: float
    interval: tuple[float, float]
    p: float
    p_holm: float

    @property
    def significant(self) -> bool:
        """Whether the corrected p value is at most 5%."""
        return self.p_holm <= LEVEL


class ComparedRow(Frozen):
    """A row of a comparison; `mean` and what follows from values is None for a row that failed."""

    name: str
    spec: Any
    kind: Kind
    mean: float | None = None
    interval: tuple[float, float] | None = None
    seed_spread: float | None = None
    query_spread: float | None = None
    to_best: Difference | None = None
    to_own: Difference | None = None
    tied_with_best: bool = False
    learning_rate: float | None = None
    trials: int | None = None
    runs: int | None = None
    seconds: float | None = None
    memory_mib: float | None = None
    metrics: dict[str, float | None] = {}
    error: str | None = None
