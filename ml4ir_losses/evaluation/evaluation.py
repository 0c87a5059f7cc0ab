"""`Evaluation`: the result of `evaluate`, and what it consists of."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ml4ir_losses.core.files import write_atomically
from ml4ir_losses.evaluation.calibration import CalibrationResult
from ml4ir_losses.evaluation.explain_metric import MetricGap
from ml4ir_losses.evaluation.position_bias import PositionBias
from ml4ir_losses.evaluation.scoring import QueryMetrics

SMALL_GROUP = 25  # groups of fewer queries are marked

Interval = tuple[float, float] | None


@dataclass
class Estimate:
    """The mean of a metric over the queries that count, and its 95% interval (None below two queries)."""

    mean: float
    interval: Interval
    queries: int
    left_out: int


@dataclass
class Difference:
    """A metric minus that of the baseline, over the queries that count: mean, 95% interval, p-value.

    `wins` are the queries on which the model is better, `losses` those on which the baseline is.
    """

    baseline: float
    difference: float
    interval: Interval
    p: float | None
    wins: int
    ties: int
    losses: int


@dataclass
class Group:
    """The queries that share a value of the column; `small`: fewer than `SMALL_GROUP`."""

    value: str
    queries: int
    small: bool
    metrics: dict[str, Estimate]


@dataclass
class Groups:
    """The groups by a column, the largest first; `macro` is the plain mean of each metric over groups that have one."""

    column: str
    groups: list[Group]
    macro: dict[str, float]


@dataclass
class Evaluation:
    """How good a ranking is.

    Attributes:
        name: what was evaluated.
        data: on what.
        queries: the number of queries.
        documents: the number of documents.
        estimates: mean and interval of each metric.
        main: the names of the metrics that the config has.
        convention: whose conventions the metrics follow; None: ours.
        per_query: the value and the weight of each query by metric; None where there are none.
        baseline: the name of the baseline, "" without one.
        differences: the comparison with the baseline, by metric.
        groups: the same by the values of a column.
        calibration: of probabilities.
        positions: the bias by shown position.
        gap: why a metric in the convention differs from ours.
        notes: what was left out and why, a line each.
    """

    name: str
    data: str
    queries: int
    documents: int | None
    estimates: dict[str, Estimate]
    main: list[str]
    convention: str | None = None
    per_query: QueryMetrics | None = None
    baseline: str = ""
    differences: dict[str, Difference] = field(default_factory=dict)
    groups: Groups | None = None
    calibration: CalibrationResult | None = None
    positions: PositionBias | None = None
    gap: MetricGap | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def metrics(self) -> dict[str, float]:
        """The means of the config's own metrics, as in the `metrics.json` of a run; `estimates` has the others too."""
        return {name: self.estimates[name].mean for name in self.main}

    def to_json(self) -> dict[str, Any]:
        """Everything but the values per query, as JSON has it."""
        found: dict[str, Any] = {
            "version": 1,
            "name": self.name,
            "data": self.data,
            "convention": self.convention,
            "queries": self.queries,
            "documents": self.documents,
            "main": self.main,
            "metrics": {name: asdict(estimate) for name, estimate in self.estimates.items()},
            "baseline": None,
            "groups": None if self.groups is None else asdict(self.groups),
            "calibration": None if self.calibration is None else self.calibration.to_json(),
            "positions": None if self.positions is None else self.positions.to_json(),
            "gap": None if self.gap is None else asdict(self.gap),
            "notes": self.notes,
        }
        if self.baseline:
            found["baseline"] = {
                "name": self.baseline,
                "metrics": {name: asdict(difference) for name, difference in self.differences.items()},
            }
        return found

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes `to_json()` atomically.

        Raises:
            DataError: if the file cannot be written.
        """
        text = json.dumps(self.to_json(), indent=2) + "\n"
        write_atomically(path, lambda part: Path(part).write_text(text, encoding="utf-8"))
