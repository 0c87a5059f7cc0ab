"""The rows of a comparison from its finished runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, mode
from typing import Any

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.evaluation.comparison import Row
from ml4ir_losses.experiments.comparing.plan import Candidate, Outcome, Outcomes, Plan, Task


def rows_of(plan: Plan, done: Outcomes) -> list[Row]:
    """A row per candidate, with the values of the seeds that are finished in every fold."""
    return [_row(plan, candidate, done) for candidate in plan.candidates]


def _row(plan: Plan, candidate: Candidate, done: Outcomes) -> Row:
    folds = range(len(plan.configs))
    repeats = [plan.repeats(candidate, fold, done) for fold in folds]
    runs = [task for task in done if task.name == candidate.name]
    error = plan.failure(candidate, done)
    seeds = [s for s in plan.seeds if all(any(t.seed == s and t in done for t in tasks) for tasks in repeats)]
    if error is None and not seeds:
        error = "is not trained yet"
    if error is not None:
        return Row(
            candidate.name, candidate.spec, candidate.kind, error=error, trials=len(candidate.settings), runs=len(runs)
        )
    outcomes = [[done[task] for tasks in repeats for task in tasks if task.seed == seed] for seed in seeds]
    metrics = list(outcomes[0][0].values)
    values = {name: np.stack([weighted_values(parts, name) for parts in outcomes]) for name in metrics}
    finished = [outcome for parts in outcomes for outcome in parts]
    memory = [m for task in runs if (m := done[task].memory) is not None]
    return Row(
        name=candidate.name,
        spec=candidate.spec,
        kind=candidate.kind,
        values=values[metrics[0]],
        learning_rate=mode(_rate(candidate, tasks[0]) for tasks in repeats),
        trials=len(candidate.settings),
        runs=len(runs),
        seconds=mean(outcome.seconds for outcome in finished),
        memory_mib=max(memory, default=None),
        metrics={name: float(value.mean()) for name, value in values.items()},
    )


def _rate(candidate: Candidate, task: Task) -> float:
    setting = candidate.settings[task.setting]
    return float(setting["learning_rate"] if isinstance(setting, Mapping) else setting)


def weighted_values(parts: Sequence[Outcome], metric: str) -> Array:
    """The values of the queries of all folds whose plain mean is their weighted mean; without those of weight 0."""
    values = np.concatenate([part.values[metric] for part in parts]).astype(float)
    weights = np.concatenate([part.weights[metric] for part in parts]).astype(float)
    counted = weights > 0
    if not counted.any():
        return values
    scaled: Array = (values * weights)[counted] / weights[counted].mean()
    return scaled


def query_ids(parts: Sequence[Outcome], metric: str) -> list[str]:
    """The ids of the queries of `weighted_values`."""
    ids: list[Any] = [i for part in parts for i in (() if part.ids is None else part.ids)]
    weights = np.concatenate([part.weights[metric] for part in parts])
    counted = weights > 0
    return [str(i) for i, kept in zip(ids, counted, strict=True) if kept or not counted.any()]


def comparison_of(plan, done, selection, config, bench):
    from ml4ir_losses.evaluation.comparison import Comparison

    rows = rows_of(plan, done)
    return Comparison.of(rows, part=plan.part)
