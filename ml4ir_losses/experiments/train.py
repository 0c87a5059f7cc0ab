"""Trains a config and writes its run folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml4ir_losses.config.load import AnyConfig, dump_config, load_config
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.files import read_json
from ml4ir_losses.core.interrupts import Terminated, signals_handled, uninterrupted
from ml4ir_losses.core.log import LOGGER, progress_bar, shown_log
from ml4ir_losses.evaluation.scoring import missed_metrics
from ml4ir_losses.experiments.checkpoints.callback import Checkpoints
from ml4ir_losses.experiments.distribution.replica_rules import for_replicas
from ml4ir_losses.experiments.distribution.strategies import Launcher, launcher_of, workers_of
from ml4ir_losses.experiments.distribution.workers import Workers
from ml4ir_losses.experiments.experiment import Experiment, prepare
from ml4ir_losses.experiments.fit import fit
from ml4ir_losses.experiments.loggers import check_loggers, tracking
from ml4ir_losses.experiments.open_run import open_run
from ml4ir_losses.experiments.own_files import read_own_files, together
from ml4ir_losses.experiments.resuming import Found
from ml4ir_losses.experiments.run_folder import CHECKPOINTS, RunFolder
from ml4ir_losses.experiments.run_report import finish_report


@dataclass
class Run:
    """The result of a training run.

    Attributes:
        path: the run folder.
        model: the trained model, with the weights of its best epoch.
        metrics: `{"validation": {...}, "test": {...}}`; for text configs also `retrieval` and `reranking`.
        baselines: `{"random": {...}, "best feature (...)": {...}}`, on the last part of `metrics`.
        missed: one message per expected metric that was not reached.
        interrupted: true if Ctrl-C ended the training early.
        experiment: the config and the model, for new data.
    """

    path: Path
    model: Any
    metrics: dict[str, dict[str, float]]
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)
    interrupted: bool = False
    experiment: Any = field(default=None, repr=False)

    def evaluate(self, data: Any) -> dict[str, float]:
        """The metrics on labelled data, a file or data in memory, as the function `evaluate` gives them."""
        values: dict[str, float] = self.experiment.evaluate(data)
        return values

    def predict(self, data: Any) -> Array:
        """The score of each row of a file or of data in memory, in their order; labels are not needed."""
        scores: Array = self.experiment.predict_rows(data)
        return scores


def train(
    config: str | Path | Mapping[str, Any] | AnyConfig,
    run_dir: str | Path | None = None,
    *,
    resume: bool = False,
    data: Any = None,
    overrides: Iterable[str] = (),
    seed: int | None = None,
    strict: bool = False,
    progress: Any = True,
) -> Run:
    """Trains, evaluates and saves a model; the log goes to the logger `ml4ir_losses` and to `log.txt`.

    Ctrl-C ends the training, keeps the best weights so far and marks `metrics.json` as interrupted; SIGTERM ends it
    at once. Both write a checkpoint, and `resume=True` goes on from there. `run_status` says what a run is.

    Args:
        config: a YAML file, a mapping or a validated config.
        run_dir: the run folder; `runs/<name>-<time>` by default. A folder that holds anything to keep is an error.
        resume: go on with the run in `run_dir` from its last checkpoint, or from the start if it has none or there is
            no run; a finished run is returned as it is.
        data: data in memory in the place of all files of the config: `{"train": X, "validation": X, "test": X}`, or
            one X for training. X is a dict of columns, a data frame or table, or NumPy arrays: see
            `ml4ir_losses.data.memory.memory_table`. A split may also be a path.
        overrides: `a.b.c=value` strings.
        seed: overrides `training.seed`.
        strict: findings about the data, which are warnings of the log otherwise, are errors.
        progress: True shows log lines and a progress bar on stderr, False nothing; or a `rich.progress.Progress`.

    Raises:
        ConfigError, DataError: one line for what is wrong; no folder of a new run is left.
        RunError: the loss is no longer a number, or a file cannot be written; what was saved before is kept.
        Terminated: SIGTERM; it is a `SystemExit` with code 143.
    """
    config = load_config(config, overrides, seed, data)
    check_loggers(config)
    with signals_handled(), shown_log() if progress is True else nullcontext():
        if launch := launcher_of(config.training.distribution):
            return _run_in_processes(config, run_dir, resume, strict, progress is not False, launch)
        with workers_of(config.training.distribution) as workers:
            return _run_here(config, run_dir, resume, strict, progress, workers)


def _run_here(
    config: AnyConfig, run_dir: str | Path | None, resume: bool, strict: bool, progress: Any, workers: Workers
) -> Run:
    """Trains in this process, which is perhaps one of several."""
    folder = RunFolder.named(config.name, run_dir, resume) if workers.chief else None
    for name, given in (("tune", config.tune), ("data.folds", getattr(config.data, "folds", None))):
        if given:
            LOGGER.info("%s: train does not read it, and trains the config as it stands", name)
    here = for_replicas(config, workers.replicas)
    found = Found.of(run_dir, here) if resume and run_dir is not None else Found()
    if found.finished:
        return _finished_run(found.path)
    if folder is None:
        experiment, path = _prepare(here, run_dir, strict, workers), Path(run_dir or ".")
        if found.model is None:
            fit(experiment, None, None, (), workers, _checkpoints(experiment, path, workers), found.checkpoint)
        experiment.model = workers.single(experiment.model)
        return Run(path, experiment.model, {}, experiment=experiment)
    bar = progress_bar() if progress is True else progress or None
    with folder.held():
        folder.write_text("config.yaml", dump_config(config))
        experiment = _prepare(here, run_dir, strict, workers)
        folder.write_json("data.json", experiment.sources)
        with tracking(config, folder.path, found.goes_on) as tracked:
            run = _train(experiment, folder, found, workers, bar, tracked.callbacks)
            tracked.metrics, tracked.interrupted = run.metrics, run.interrupted
        if run.interrupted:
            folder.end_interrupted()
    return run


def _prepare(config: AnyConfig, run_dir: str | Path | None, strict: bool, workers: Workers) -> Experiment:
    with workers.scope(), together(workers):
        return prepare(config, strict, read_own_files(config, workers, run_dir))


def _run_in_processes(
    config: AnyConfig, run_dir: str | Path | None, resume: bool, strict: bool, progress: bool, launch: Launcher
) -> Run:
    """Trains in processes that are started for it; process 0 writes the run folder, which is opened here."""
    path = RunFolder.named(config.name, run_dir, resume).path
    # They go on from the last checkpoint when they are started again.
    arguments = {"config": config, "run_dir": path, "resume": True, "strict": strict, "progress": progress}
    return _opened(path, interrupted=launch(_interrupted, arguments))


def _interrupted(**arguments: Any) -> bool:
    """Trains in one of several processes: what the other ones cannot read from the run folder."""
    return train(**arguments).interrupted


def _checkpoints(experiment: Experiment, path: Path, workers: Workers) -> Checkpoints:
    return Checkpoints(path / CHECKPOINTS, experiment.config.training.checkpoint, workers)


def _train(
    experiment: Experiment, folder: RunFolder, found: Found, workers: Workers, progress: Any, callbacks: Sequence[Any]
) -> Run:
    """Trains, saves and evaluates; what was done before is not repeated."""
    interrupted = False
    if found.model is not None:
        experiment.begin()
        experiment.model = found.model
    else:
        checkpoints = _checkpoints(experiment, folder.path, workers)
        done = fit(experiment, folder, progress, callbacks, workers, checkpoints, found.checkpoint)
        experiment.model, interrupted = workers.single(experiment.model), done.interrupted
    # Not the experiment itself, which holds the training data.
    trained = type(experiment).of_run(experiment.config, experiment.model)
    run = Run(folder.path, experiment.model, {}, interrupted=interrupted, experiment=trained)
    try:
        with uninterrupted():
            if found.model is None:
                folder.update(phase="saving")
                folder.save_model(experiment.model)
            folder.update(phase="evaluating", trained=not interrupted)
        _evaluate(experiment, folder, run)
    except Terminated:
        raise
    except KeyboardInterrupt:
        run.interrupted = True
        LOGGER.warning("Interrupted while the model was evaluated.")
        _write_metrics(folder, run)
    if experiment.config.training.report and not run.interrupted:
        finish_report(experiment, folder)
    for split, values in run.metrics.items():
        LOGGER.info("%s: %s", split, "  ".join(f"{name} {value:.4f}" for name, value in values.items()))
    run.missed = _missed(run)
    for line in run.missed:
        LOGGER.error("expected_metrics.%s", line)
    return run


def _evaluate(experiment: Experiment, folder: RunFolder, run: Run) -> None:
    for part in experiment.evaluated:
        run.metrics[part] = experiment.evaluate_part(part, folder)
    _write_metrics(folder, run)
    if run.metrics:
        run.baselines = experiment.baselines(list(run.metrics)[-1])
        folder.write_json("baselines.json", run.baselines)


def _write_metrics(folder: RunFolder, run: Run) -> None:
    folder.write_json("metrics.json", {**run.metrics, **({"interrupted": True} if run.interrupted else {})})


def _missed(run: Run) -> list[str]:
    """One message per expected metric that was not reached."""
    return [
        f"{split}: {line}"
        for split, expected in run.experiment.config.expected_metrics.items()
        for line in missed_metrics(expected, run.metrics.get(split, expected))
    ]


def _opened(path: Path, interrupted: bool = False) -> Run:
    """The result of a run that another process trained."""
    experiment = open_run(path)
    metrics = read_json(path / "metrics.json", {})
    metrics.pop("interrupted", None)
    run = Run(path, experiment.model, metrics, interrupted=interrupted, experiment=experiment)
    run.baselines = read_json(path / "baselines.json", {})
    run.missed = _missed(run)
    return run


def _finished_run(path: Path) -> Run:
    """The result of a run that was finished before."""
    run = _opened(path)
    LOGGER.info("%s: the run is finished; nothing is left to do", path)
    return run
