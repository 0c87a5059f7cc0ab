"""Searches the best values of a config's section `tune`, and trains the best config."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ml4ir_losses.config.distribution import ignored
from ml4ir_losses.config.load import AnyConfig, load_config
from ml4ir_losses.config.search_space import check_search_space
from ml4ir_losses.core.errors import ConfigError, UserError, check_count, check_positive
from ml4ir_losses.core.extras import import_extra
from ml4ir_losses.core.interrupts import signals_handled
from ml4ir_losses.core.log import LOGGER, progress_bar, shown_log
from ml4ir_losses.experiments.search_results import Tuned, write_results


def tuned_config(
    config: str | Path | Mapping[str, Any] | AnyConfig,
    *,
    trials: int | None,
    minutes: float | None,
    data: Any = None,
    overrides: Iterable[str] = (),
    ranges: Mapping[str, Any] | None = None,
    seed: int | None = None,
) -> AnyConfig:
    """The checked config of a search: see `tune`. Nothing slow is imported.

    Raises:
        ConfigError, UserError: one line for what is wrong.
    """
    if trials is None and minutes is None:
        raise UserError("Say how long to search: give `trials`, `minutes` or both.")
    check_count(trials=trials)
    if minutes is not None:
        check_positive(minutes=minutes)
    checked = load_config(config, overrides, seed, data)
    if ranges:
        checked = load_config(checked.model_dump(mode="python") | {"tune": {**checked.tune, **ranges}})
    if not checked.tune:
        example = "model.optimizer.learning_rate: {log_uniform: [1.0e-4, 1.0e-2]}"
        raise ConfigError(f"tune: the config names no parameter to search. Write for example: tune: {{{example}}}")
    check_search_space(checked)
    import_extra("optuna", "tune", "Tuning")
    return checked


def tune(
    config: str | Path | Mapping[str, Any] | AnyConfig,
    run_dir: str | Path | None = None,
    *,
    trials: int | None = None,
    minutes: float | None = None,
    data: Any = None,
    overrides: Iterable[str] = (),
    ranges: Mapping[str, Any] | None = None,
    seed: int | None = None,
    progress: Any = True,
) -> Tuned:
    """Searches the values in the config's section `tune` by the monitored value, then trains and tests the best config.

    The first trial is the config as it stands. With `data.folds` the score is the mean over the folds. The test split
    is read after the search, by the run of the best config. The folder holds `trials.csv`, `tune.json`, `best.yaml`,
    the study and that run; a search that was interrupted or killed goes on when it is called again.

    Args:
        config: a YAML file, a mapping or a validated config.
        run_dir: the folder; `runs/tune-<name>` by default.
        trials: the number of trials, those of earlier calls included.
        minutes: no trial starts after so many minutes of trials, those of earlier calls included.
        data: data in memory in the place of all files of the config, as in `train`.
        overrides: `a.b.c=value` strings.
        ranges: further ranges by path, `{"training.epochs": {"int": [10, 50]}}`.
        seed: overrides `training.seed`, which also seeds the search.
        progress: True shows log lines and a progress bar on stderr, False nothing; or a `rich.progress.Progress`.

    Raises:
        ConfigError, DataError, UserError: one line for what is wrong, before anything is trained.
        RunError: no trial has a score.
    """
    checked = tuned_config(
        config, trials=trials, minutes=minutes, data=data, overrides=overrides, ranges=ranges, seed=seed
    )
    from ml4ir_losses.experiments.held_folder import HELD, HeldFolder, holds_only
    from ml4ir_losses.experiments.search import Search
    from ml4ir_losses.experiments.trials import Workbench

    folder = Path(run_dir or Path("runs", f"tune-{checked.name}"))
    if not (folder / "study.db").is_file() and not holds_only(folder, HELD):
        raise ConfigError(f"{folder}: exists and holds no search. Choose --run-dir.")
    work = HeldFolder(folder, "search", "the same command goes on")
    with shown_log() if progress is True else nullcontext(), signals_handled(), work.held():
        if note := ignored(checked.training.distribution, "tune"):
            LOGGER.info("%s", note)
        search = Search(checked, Workbench(), folder / "study.db")
        work.update(phase="training")
        interrupted = False
        bar = progress_bar() if progress is True else progress or None
        try:
            with bar or nullcontext():
                search.run(trials, minutes, bar and _Shown(bar, search, trials))
        except KeyboardInterrupt:
            interrupted = True
            LOGGER.warning("Interrupted: the same command goes on with the search.")
            if search.best is None:  # in the first trial
                raise
        tuned = _result(folder, search, interrupted)
        tuned = tuned if interrupted else _train_best(tuned, progress)
        if tuned.interrupted:
            work.end_interrupted()
        return tuned


class _Shown:
    """Shows the trial, its epoch or fold, and the best score so far in a progress bar."""

    def __init__(self, bar: Any, search: Any, trials: int | None) -> None:
        self.bar, self.search = bar, search
        self.task = bar.add_task("", total=trials)

    def __call__(self, text: str) -> None:
        best, done = self.search.best, sum(t.state != "interrupted" for t in self.search.tried())
        score = "" if best is None else f"  best {self.search.monitor} {best.score:.4f} (trial {best.number})"
        self.bar.update(self.task, completed=done, description=text + score)


def _result(folder: Path, search: Any, interrupted: bool) -> Tuned:
    """The result so far, written into the folder."""
    tuned = Tuned(
        folder,
        search.config_of(search.best),
        search.monitor,
        search.ranked(),
        search.tried(),
        search.importances(),
        interrupted=interrupted,
    )
    write_results(tuned, search.config.tune, search.mode, len(search.parts))
    return tuned


def _train_best(tuned: Tuned, progress: Any) -> Tuned:
    """Trains the best config in a run folder of its own, unless an earlier call did."""
    from ml4ir_losses.experiments.train import train

    tuned.run = tuned.path / f"trial-{tuned.best.number}"
    finished = _finished_metrics(tuned.run)
    if finished is not None:
        tuned.metrics = finished
        return tuned
    LOGGER.info("the best config is that of trial %d: it is trained once more, then tested", tuned.best.number)
    run = train(tuned.config, tuned.run, resume=True, progress=progress)
    tuned.metrics, tuned.interrupted = run.metrics, run.interrupted
    return tuned


def _finished_metrics(run: Path) -> dict[str, dict[str, float]] | None:
    try:
        metrics: dict[str, dict[str, float]] = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return None if "interrupted" in metrics else metrics
