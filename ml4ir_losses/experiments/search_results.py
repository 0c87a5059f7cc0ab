"""The trials of a search, its result, and their files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ml4ir_losses.config.load import AnyConfig, dump_config
from ml4ir_losses.config.ranges import label
from ml4ir_losses.core.files import write_atomically, write_csv


@dataclass
class Tried:
    """A trial.

    Attributes:
        number: counted from 0; trial 0 is the config as it stands.
        state: `finished`, `pruned`, `failed` or `interrupted`.
        score: the monitored value of the best epoch; with folds its mean.
        values: the value at each path; of trial 0 those that the config gives within the ranges.
        history: the best monitored value up to each epoch; with folds the mean score up to each fold.
        seconds: the time of training.
        error: why it failed.
    """

    number: int
    state: str
    score: float | None
    values: dict[str, Any]
    history: list[float] = field(default_factory=list)
    seconds: float = 0.0
    error: str | None = None


@dataclass
class Tuned:
    """The result of a search.

    Attributes:
        path: the folder of the search.
        config: the best config, without the section `tune`; also in `best.yaml`.
        monitor: the name of the score.
        ranked: the finished trials, the best one first.
        trials: all trials that were begun; trial 0 is the config as it stands.
        importances: the share of each path in the variance of the scores, highest first; empty with few trials.
        run: the run folder of the best config, trained once more; None if the search was interrupted.
        metrics: the metrics of that run on the validation and the test split.
        interrupted: true if Ctrl-C ended the search or the run.
    """

    path: Path
    config: AnyConfig
    monitor: str
    ranked: list[Tried]
    trials: list[Tried]
    importances: dict[str, float]
    run: Path | None = None
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def best(self) -> Tried:
        """The trial of the best config."""
        return self.ranked[0]


def write_results(tuned: Tuned, ranges: Mapping[str, Any], mode: str, parts: int) -> None:
    """Writes `best.yaml`, `trials.csv` and `tune.json` into the folder of a search.

    Args:
        tuned: the result so far.
        ranges: the section `tune`.
        mode: `max` or `min`: which score is better.
        parts: the number of folds; 1 without.
    """
    folds = parts if parts > 1 else None
    summary = {
        "version": 1,
        "name": tuned.config.name,
        "monitor": tuned.monitor,
        "mode": mode,
        "folds": folds,
        "ranges": ranges,
        "best": tuned.best.number,
        "importances": tuned.importances,
        "interrupted": tuned.interrupted,
        "trials": [asdict(tried) for tried in tuned.trials],
    }
    _write_text(tuned.path / "best.yaml", dump_config(tuned.config, without=["tune"]))
    _write_text(tuned.path / "tune.json", json.dumps(summary, indent=2) + "\n")
    header = ["trial", "state", tuned.monitor, "folds" if folds else "epochs", "seconds", *ranges, "error"]
    rows = [
        [
            *(tried.number, tried.state, tried.score, len(tried.history), tried.seconds),
            *(label(tried.values[path]) if path in tried.values else None for path in ranges),
            tried.error,
        ]
        for tried in tuned.trials
    ]
    write_csv(tuned.path / "trials.csv", header, rows)


def _write_text(path: Path, text: str) -> None:
    write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))


def short(value: Any) -> str:
    """A value as people read it: 4 digits of a number."""
    return f"{value:.4g}" if isinstance(value, float) else label(value)
