"""The training of an experiment: epochs, best weights, early stopping, progress."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from ml4ir_losses.core.errors import DivergedError
from ml4ir_losses.core.interrupts import Terminated
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.data.sharding import START, Position
from ml4ir_losses.experiments.callbacks import BatchProgress, BestWeights, EpochLog, EpochNumber
from ml4ir_losses.experiments.checkpoints.callback import Checkpoints
from ml4ir_losses.experiments.checkpoints.checkpoint import Checkpoint, Resumable
from ml4ir_losses.experiments.checkpoints.epochs import RestOfEpoch, finish_epoch, is_empty
from ml4ir_losses.experiments.distribution.agreement import ChiefLogs
from ml4ir_losses.experiments.distribution.workers import ONE_PROCESS, Workers
from ml4ir_losses.experiments.experiment import Experiment
from ml4ir_losses.experiments.run_callbacks import FiniteLoss, RunProgress, SafeStop
from ml4ir_losses.experiments.run_folder import RunFolder
from ml4ir_losses.model.optimizers import plateau_callback
from ml4ir_losses.model.state import build_variables


@dataclass
class Fit:
    """What a training did.

    Attributes:
        epochs: the logged values of each epoch.
        best_epoch: the epoch (from 0) whose weights the model has; None: no epoch was finished.
        interrupted: True if Ctrl-C ended it.
    """

    epochs: list[dict[str, float]]
    best_epoch: int | None
    interrupted: bool = False


def fit(
    experiment: Experiment,
    folder: RunFolder | None = None,
    progress: Any = None,
    callbacks: Sequence[Any] = (),
    workers: Workers = ONE_PROCESS,
    checkpoints: Checkpoints | None = None,
    resume: Checkpoint | None = None,
) -> Fit:
    """Trains the model of an experiment, which then has the weights of its best epoch.

    A training that goes on from a checkpoint ends as the one that wrote it would have ended.

    Args:
        experiment: the model, its batches and its config.
        folder: where `history.csv` is written; None: nowhere.
        progress: a `rich.progress.Progress` for the batches.
        callbacks: further Keras callbacks; the state of each `Resumable` is kept in checkpoints.
        workers: the processes that train together.
        checkpoints: the callback that writes checkpoints.
        resume: the checkpoint to go on from.

    Raises:
        ConfigError, DataError: for a checkpoint of another config, model or data.
        DivergedError: the loss is no longer a number; the weights of the best epoch are saved in the folder.
        DataError: data on disk can no longer be read.
        Terminated: SIGTERM.
    """
    config, model = experiment.config, experiment.model
    monitor, mode = experiment.monitored()
    stop = config.training.early_stopping
    rules = {} if stop is None else stop.model_dump(exclude={"monitor"})
    best = BestWeights(monitor, mode, **rules)
    log = EpochLog(folder, config.training.epochs, best)
    start = START if resume is None else resume.position
    safe_stop = SafeStop(checkpoints)
    callbacks = [
        EpochNumber(experiment.feeding, config.training.seed),
        *([] if resume is None else [RestOfEpoch(resume)]),
        FiniteLoss(experiment.describe_batch, start),
        *([] if folder is None else [RunProgress(folder, config.training.epochs, experiment.steps, start)]),
        safe_stop,
        *experiment.callbacks(),
        *([ChiefLogs(workers)] if workers.count > 1 else []),
        safe_stop.after,
        best,
        log,
        *callbacks,
    ]
    if plateau := plateau_callback(config.model, monitor, mode):
        callbacks.append(plateau)
    if progress is not None:
        callbacks.append(BatchProgress(progress, experiment.steps, start))
    if resume is not None:
        resume.check(config)
        resume.check_data(experiment.sources)
        experiment.keep_windows(resume.progress.window_bytes)
        experiment.untrained = dict(resume.progress.untrained)
    interrupted = False
    started = time.perf_counter()
    try:
        experiment.begin()
        if resume is not None:
            LOGGER.info("goes on from epoch %d, batch %d", start.epoch + 1, start.batch)
        with workers.scope(), progress or nullcontext(), warnings.catch_warnings(), experiment.feeding.errors():
            # The number of batches may be unknown; Keras then warns at the end of an epoch.
            warnings.filterwarnings("ignore", message="Your input ran out of data")
            _train(experiment, callbacks, workers, checkpoints, resume)
    except Terminated:
        raise
    except KeyboardInterrupt:
        interrupted = True
        LOGGER.warning("Interrupted: the best weights so far are kept.")
    except DivergedError:
        if folder is not None and best.restore(model):
            folder.save_model(workers.single(model))
        raise
    finally:
        safe_stop.end()
    best.restore(model)
    epoch = "none finished" if best.best_epoch is None else f"best epoch {best.best_epoch + 1}"
    LOGGER.info("trained %.1f s, %s", time.perf_counter() - started, epoch)
    return Fit(log.rows, best.best_epoch, interrupted)


def _train(
    experiment: Experiment,
    callbacks: list[Any],
    workers: Workers,
    checkpoints: Checkpoints | None,
    resume: Checkpoint | None,
) -> None:
    """Trains from the first batch, or from that of a checkpoint."""
    model, epochs = experiment.model, experiment.config.training.epochs
    start = START if resume is None else resume.position
    parts = [callback for callback in callbacks if isinstance(callback, Resumable)]
    if checkpoints is not None:
        checkpoints.watch(experiment, parts, start, 0 if resume is None else resume.progress.steps)
        callbacks.append(checkpoints)
    validation = workers.dataset(experiment.dataset("validation", shard=workers.shard))
    stopped = False
    if resume is not None:
        build_variables(model, experiment.dataset("train", shard=workers.shard))
        resume.restore(model, parts)
        stopped = resume.progress.stopped
        if start.batch and is_empty(experiment.dataset("train", start, workers.shard)):
            stopped = finish_epoch(model, callbacks, resume, validation, epochs)
            start = Position(start.epoch + 1)
    model.fit(
        workers.dataset(experiment.dataset("train", start, workers.shard)),
        validation_data=validation,
        initial_epoch=epochs if stopped else start.epoch,
        epochs=epochs,
        callbacks=callbacks,
        verbose=0,
        shuffle=False,  # the plan shuffles
    )
