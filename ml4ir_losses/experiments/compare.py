"""`compare`: which loss is best on given data, and whether that can be told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ml4ir_losses import __version__
from ml4ir_losses.config.distribution import ignored
from ml4ir_losses.config.in_memory import SPLITS
from ml4ir_losses.config.load import AnyConfig, load_config, reads_texts
from ml4ir_losses.core.errors import ConfigError, DataError, RunError
from ml4ir_losses.core.files import write_text
from ml4ir_losses.core.interrupts import signals_handled
from ml4ir_losses.core.log import LOGGER, progress_bar, shown_log
from ml4ir_losses.evaluation.comparison import Comparison
from ml4ir_losses.experiments.comparing.baselines import read_run, simple_orders
from ml4ir_losses.experiments.comparing.choices import unfit_labels
from ml4ir_losses.experiments.comparing.folder import ComparisonFolder
from ml4ir_losses.experiments.comparing.plan import Outcome, Plan, Task
from ml4ir_losses.experiments.comparing.progress import RunProgress
from ml4ir_losses.experiments.comparing.rows import comparison_of
from ml4ir_losses.experiments.comparing.schedule import load_finished, train_open_runs
from ml4ir_losses.experiments.comparing.selection import Losses, Selection
from ml4ir_losses.experiments.comparing.workers import Processes, ThisProcess, Trainer, Workers
from ml4ir_losses.experiments.folding import fold_configs
from ml4ir_losses.experiments.held_folder import HeldFolder
from ml4ir_losses.experiments.run_report import report_comparison
from ml4ir_losses.experiments.trials import Workbench


@dataclass
class Compared:
    """The result of a comparison.

    Attributes:
        path: its folder, with `compare.json`, `compare.csv`, `compare.tex` and `report.html`.
        comparison: the table with its statistics.
        missing: the number of runs that were not trained, by name: the budget was used up, or Ctrl-C was pressed.
        left_out: why a loss was not compared, by key, where all that fit were asked for.
        interrupted: true if Ctrl-C ended it.
    """

    path: Path
    comparison: Comparison
    missing: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def verdict(self) -> str:
        """What can be told, in a sentence."""
        return self.comparison.verdict

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of the table, the best one first, as in `compare.json`."""
        return [row.model_dump(mode="json") for row in self.comparison.rows]


def compare(
    config: str | Path | Mapping[str, Any] | AnyConfig,
    losses: Losses = (),
    *,
    seeds: int = 5,
    folds: int | None = None,
    baseline: str | Iterable[str] = (),
    learning_rates: Sequence[float] | None = None,
    budget: float | None = None,
    jobs: int = 1,
    run_dir: str | Path | None = None,
    data: Any = None,
    overrides: Iterable[str] = (),
    seed: int | None = None,
    progress: Any = True,
) -> Compared:
    """Trains a config with several losses on the same data and compares them per query and seed.

    Each loss first tries every learning rate with the first seed; the one with the best value on the validation split
    is trained with the other seeds. A run that was finished before is not repeated: after Ctrl-C or a crash, the same
    call with `run_dir` goes on.

    Args:
        config: a YAML file, a mapping or a validated config; its own loss is always compared.
        losses: keys, `key:{parameter: value}` or mappings; `"all"`: every loss that the labels fit.
        seeds: number of seeds, from `training.seed` on.
        folds: number of folds of the queries; each is the test split once. None: as `data.folds` says, else the splits
            of the config.
        baseline: `lightgbm`, `catboost`, each of which tries as many settings as a loss tries learning rates; or the
            folder of a run.
        learning_rates: the learning rates that are tried; None: 0.3, 1 and 3 times the config's.
        budget: minutes after which no further run starts. The losses then take turns, seed by seed.
        jobs: number of processes that train at a time; a script then needs `if __name__ == "__main__":`.
        run_dir: the folder; `runs/compare-<name>-<time>` by default, or that of an unfinished comparison.
        data: data in memory in the place of all files of the config, as in `train`.
        overrides: `a.b.c=value` strings.
        seed: overrides `training.seed`, the first seed.
        progress: True shows a progress bar or log lines on stderr, False nothing; or a `rich.progress.Progress`.

    Raises:
        ConfigError, DataError: one line for what is wrong; nothing was trained.
        RunError: every loss failed, or the budget was too small for two of them.
        KeyboardInterrupt: Ctrl-C before two losses were finished; the runs that were are kept.
    """
    config = load_config(config, overrides, seed, data)
    selection = Selection.checked(
        config, losses, seeds=seeds, folds=folds, baseline=baseline, learning_rates=learning_rates
    )
    return compare_selected(config, selection, budget=budget, jobs=jobs, run_dir=run_dir, progress=progress)


def compare_selected(
    config: AnyConfig,
    selection: Selection,
    *,
    budget: float | None = None,
    jobs: int = 1,
    run_dir: str | Path | None = None,
    progress: Any = True,
) -> Compared:
    """`compare` of a selection that is already checked."""
    for name, value in (("budget", budget), ("jobs", jobs)):
        if value is not None and (isinstance(value, bool) or not value > 0):
            raise ConfigError(f"--{name}: must be a number above 0. Received: {value!r}.")
    place = ComparisonFolder.place(config.name, run_dir)
    work = HeldFolder(place, "comparison", f"the same command with --run-dir {place} goes on")
    with shown_log() if progress is True else nullcontext(), signals_handled(), work.held():
        task = _Comparing.prepare(config, selection, place, rounds=budget is not None)
        work.update(phase="training")
        interrupted = task.train(jobs, progress_bar() if progress is True else progress or None, budget)
        compared = task.result(interrupted)
        if compared.interrupted:
            work.end_interrupted()
        return compared


@dataclass
class _Comparing:
    """A comparison whose data were read and which can start."""

    config: AnyConfig
    selection: Selection
    bench: Workbench
    plan: Plan
    folder: ComparisonFolder
    chosen_on: str
    left_out: dict[str, str]
    runs: dict[str, Outcome]
    done: dict[Task, Outcome] = field(default_factory=dict)

    @classmethod
    def prepare(cls, config: AnyConfig, selection: Selection, place: Path, *, rounds: bool) -> _Comparing:
        """Reads the data and finds the folder with what is finished already."""
        configs, bench = _folds(config, selection.folds), Workbench()
        experiment: Any = bench.prepare(configs[0])
        part = _part(experiment)
        runs = {run: read_run(run, part, _query_ids(experiment, part)) for run in selection.runs}
        errors = {} if reads_texts(config) else _unfit(selection, experiment)
        left_out = {**selection.left_out, **(errors if selection.fitting else {})}
        candidates = [c for c in selection.candidates(errors) if c.name not in left_out]
        plan = Plan(configs, candidates, selection.seeds, part, rounds=rounds)
        folder = ComparisonFolder(place, _subject(config, experiment, part, selection.folds))
        monitor, _ = experiment.monitored()
        chosen_on = part if monitor.startswith(f"val_{part}_") else "validation"
        comparing = cls(config, selection, bench, plan, folder, chosen_on, left_out, runs)
        load_finished(plan, folder, comparing.done)
        if note := ignored(config.training.distribution, "compare"):
            LOGGER.info("%s", note)
        for name, reason in left_out.items():
            LOGGER.info("left out: %s: %s", name, reason)
        LOGGER.info("comparison: %s", folder.path)
        if comparing.done:
            LOGGER.info("%d runs were finished before", len(comparing.done))
        return comparing

    def train(self, jobs: int, bar: Any, budget: float | None) -> bool:
        """Trains what is left; true if Ctrl-C ended it."""
        single = jobs == 1 or not self.plan.open(self.done)
        workers: Workers = ThisProcess(Trainer(self.plan, self.bench)) if single else Processes(self.plan, jobs)
        try:
            with bar or nullcontext():
                return train_open_runs(self.plan, self.folder, workers, self.done, RunProgress(bar, jobs), budget)
        finally:
            workers.close()

    def result(self, interrupted: bool) -> Compared:
        """The table of what is finished, which is written into the folder."""
        missing = {name: count for name, count in self.plan.left(self.done) if count}
        if missing:
            names = ", ".join(f"{name} ({count})" for name, count in missing.items())
            LOGGER.warning("%d runs are missing: %s", sum(missing.values()), names)
            LOGGER.warning("The same command with --run-dir %s goes on.", self.folder.path)
        fixed = {} if reads_texts(self.config) else simple_orders(self.bench, self.plan.configs, self.plan.part)
        try:
            comparison = comparison_of(
                self.plan, self.done, fixed | self.runs, self.selection, self.config.name, self.chosen_on
            )
        except RunError:
            if interrupted:
                raise KeyboardInterrupt from None
            raise
        _write(comparison, self.folder.path)
        return Compared(self.folder.path, comparison, missing, self.left_out, interrupted)


def _write(comparison: Comparison, folder: Path) -> None:
    """Writes the table in all its forms, and the report."""
    for ending, text in (("json", comparison.to_json()), ("csv", comparison.to_csv()), ("tex", comparison.to_tex())):
        write_text(folder / f"compare.{ending}", text)
    report_comparison(folder)


def _folds(config: AnyConfig, folds: int | None) -> list[Any]:
    """The config of each fold, whose test split it is; the config itself without folds."""
    if folds is None:
        return [config]
    declared = None if reads_texts(config) else config.data.folds  # by which column or time
    return fold_configs(config, folds if declared is None else declared.model_copy(update={"k": folds}), splits=SPLITS)


def _part(experiment: Any) -> str:
    """The part on which losses are compared: the last one that has values per query.

    Raises:
        DataError: if there is none, or it has fewer than two queries.
    """
    for part in reversed(experiment.evaluated):
        count = len(_query_ids(experiment, part))
        if count == 1:
            raise DataError(f"compare: {part} needs at least 2 queries. Received: 1.")
        if count:
            return str(part)
    raise DataError(
        "compare: needs values per query: give data.test or data.validation; for embeddings data.retrieval or "
        "data.reranking."
    )


def _query_ids(experiment: Any, part: str) -> Sequence[Any]:
    """The ids of the evaluated queries; empty for a part without values per query."""
    if reads_texts(experiment.config):
        ids: Sequence[Any] = getattr(experiment.evaluators[part].get(""), "query_ids", ())
        return ids
    return list(experiment.queries[part].ids)


def _unfit(selection: Selection, experiment: Any) -> dict[str, str]:
    """Why a loss cannot read the labels, by name."""
    label = experiment.config.features.label
    given = {split: queries for split, queries in experiment.queries.items() if split != "test"}
    labels = {split: np.concatenate(list(queries.label_values(label))) for split, queries in given.items()}
    reasons = {choice.name: unfit_labels(choice, labels) for choice in selection.choices}
    return {name: reason for name, reason in reasons.items() if reason}


def _subject(config: AnyConfig, experiment: Any, part: str, folds: int | None) -> dict[str, Any]:
    """All that determines the runs beside their losses, settings, folds and seeds."""
    return {
        "package": __version__,
        "backend": keras.backend.backend(),
        "config": config.model_dump(mode="json"),
        "data": {split: source["sha256"] for split, source in experiment.sources.items()},
        "part": part,
        "folds": folds,
    }
