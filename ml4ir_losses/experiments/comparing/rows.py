"""The table of a comparison, from its finished runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median, mode
from typing import Any

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import RunError
from ml4ir_losses.evaluation.comparison import Comparison, Row
from ml4ir_losses.evaluation.scoring import lower_is_better
from ml4ir_losses.experiments.comparing.plan import Candidate, Outcome, Outcomes, Plan
from ml4ir_losses.experiments.comparing.selection import Selection


def comparison_of(
    plan: Plan, done: Outcomes, fixed: Mapping[str, Outcome], selection: Selection, name: str, chosen_on: str
) -> Comparison:
    """The comparison of the finished runs.

    Args:
        plan: the runs.
        done: those that are finished.
        fixed: what has values without training, by name.
        selection: what is compared.
        name: the name of the config.
        chosen_on: the part on which settings were chosen.

    Raises:
        RunError: if fewer than two of them are finished.
    """
    finished = {c.name: _finished(plan, c, done) for c in plan.candidates}
    seeds = _compared_seeds(list(finished.values()), plan.seeds)
    shown = [
        c for c in plan.candidates if len(finished[c.name]) >= max(len(seeds), 1) or plan.failure(c, done) is not None
    ]
    first = next((runs[0] for runs in finished.values() if runs), None)
    if first is None and len(shown) == len(plan.candidates):
        raise RunError(f"every loss failed: {plan.failure(shown[0], done)}")
    if first is None or (len(shown) < 2 and not fixed):
        raise RunError("fewer than two of what is compared are finished, so there is no table yet.")
    metric = next(iter(first[0].values))
    comparison = Comparison.of(
        [_row(plan, c, done, finished[c.name][: len(seeds)]) for c in shown]
        + [_fixed_row(name, outcome, metric) for name, outcome in fixed.items()],
        metric=metric,
        higher_is_better=not lower_is_better(metric),
        ids=[query for part in first for query in (() if part.ids is None else part.ids)],
        seeds=seeds,
        own=selection.own,
        part=plan.part if plan.part != chosen_on else f"{plan.part}, on which learning rates were chosen",
        name=name,
        folds=selection.folds,
        searched={"learning_rates": list(selection.rates), "trials_each": len(selection.rates)},
    )
    notes = [*comparison.notes, *_unfinished(plan, done, len(seeds))]
    return comparison.model_copy(update={"notes": notes})


def _unfinished(plan: Plan, done: Outcomes, seeds: int) -> list[str]:
    """What a comparison that was ended early lacks."""
    left = ", ".join(f"{name} ({count})" for name, count in plan.left(done) if count)
    return (
        [f"Not finished: {seeds} of {len(plan.seeds)} seeds are compared; runs that are left: {left}."] if left else []
    )


def _finished(plan: Plan, candidate: Candidate, done: Outcomes) -> list[list[Outcome]]:
    """The outcomes of the folds for each of the first seeds that are finished in all of them; none of a failed one."""
    if plan.failure(candidate, done) is not None:
        return []
    repeats = [plan.repeats(candidate, fold, done) for fold in range(len(plan.configs))]
    finished: list[list[Outcome]] = []
    for tasks in zip(*repeats, strict=False):
        if any(task not in done for task in tasks):
            break
        finished.append([done[task] for task in tasks])
    return finished


def _compared_seeds(finished: Sequence[Sequence[Any]], seeds: Sequence[int]) -> list[int]:
    """As many of the first seeds as make the most of an unfinished comparison: seeds times the rows that have them."""
    counts = [len(runs) for runs in finished if runs]
    best = max(set(counts), key=lambda n: (n * sum(count >= n for count in counts), n), default=0)
    return list(seeds[:best])


def _row(plan: Plan, candidate: Candidate, done: Outcomes, compared: Sequence[Sequence[Outcome]]) -> Row:
    runs = [outcome for task, outcome in done.items() if task.name == candidate.name]
    row = Row(candidate.name, candidate.spec, candidate.kind, trials=len(candidate.settings), runs=len(runs))
    row.error = plan.failure(candidate, done)
    if row.error is not None:
        return row
    values = {name: np.stack([per_query(folds, name) for folds in compared]) for name in compared[0][0].values}
    chosen = [plan.repeats(candidate, fold, done)[0].setting for fold in range(len(plan.configs))]
    row.values = next(iter(values.values()))
    row.metrics = {name: float(np.nanmean(value)) for name, value in values.items()}
    row.learning_rate = mode(_rate(candidate.settings[setting]) for setting in chosen)
    row.seconds = median(outcome.seconds for folds in compared for outcome in folds)
    # Data, libraries and traced steps add to the first runs of a process, and nothing subtracts.
    row.memory_mib = min((outcome.memory for outcome in runs if outcome.memory is not None), default=None)
    return row


def _fixed_row(name: str, outcome: Outcome, metric: str) -> Row:
    values = {key: per_query([outcome], key) for key in outcome.values}
    if metric not in values:
        return Row(name, kind="baseline", error=f"has no values of {metric}")
    metrics = {key: float(np.nanmean(value)) for key, value in values.items()}
    return Row(name, kind="baseline", values=values[metric][None], metrics=metrics)


def _rate(setting: Any) -> float:
    return float(setting["learning_rate"] if isinstance(setting, Mapping) else setting)


def per_query(folds: Sequence[Outcome], metric: str) -> Array:
    """The values of the queries of all folds, whose plain mean is their weighted mean; NaN where the weight is 0."""
    values = np.concatenate([fold.values[metric] for fold in folds]).astype(float)
    weights = np.concatenate([fold.weights[metric] for fold in folds]).astype(float)
    counted = weights > 0
    scale = weights[counted].mean() if counted.any() else 1.0
    scaled: Array = np.where(counted, values * weights / scale, np.nan)
    return scaled
