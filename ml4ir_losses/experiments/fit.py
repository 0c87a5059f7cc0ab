"""The training of an experiment: epochs, best weights, early stopping, progress."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.experiments.callbacks import BatchProgress, BestWeights, EpochLog, EpochNumber
from ml4ir_losses.experiments.distribution.workers import ONE_PROCESS, Workers
from ml4ir_losses.experiments.experiment import Experiment
from ml4ir_losses.experiments.run_folder import RunFolder
from ml4ir_losses.model.optimizers import plateau_callback


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
) -> Fit:
    """Trains the model of an experiment, which then has the weights of its best epoch.

    Args:
        experiment: the model, its batches and its config.
        folder: where `history.csv` is written; None: nowhere.
        progress: a `rich.progress.Progress` for the batches.
        callbacks: further Keras callbacks.
        workers: the processes that train together.

    Raises:
        RunError: the loss is no longer a number.
        DataError: data on disk can no longer be read.
    """
    config, model = experiment.config, experiment.model
    monitor, mode = experiment.monitored()
    stop = config.training.early_stopping
    rules = {} if stop is None else stop.model_dump(exclude={"monitor"})
    best = BestWeights(monitor, mode, **rules)
    log = EpochLog(folder, config.training.epochs, best)
    callbacks = [EpochNumber(experiment.feeding), *experiment.callbacks(), best, log, *callbacks]
    if plateau := plateau_callback(config.model, monitor, mode):
        callbacks.append(plateau)
    if progress is not None:
        callbacks.append(BatchProgress(progress, experiment.steps))
    interrupted = False
    started = time.perf_counter()
    try:
        experiment.begin()
        with workers.scope(), progress or nullcontext(), warnings.catch_warnings(), experiment.feeding.errors():
            # The number of batches may be unknown; Keras then warns at the end of an epoch.
            warnings.filterwarnings("ignore", message="Your input ran out of data")
            model.fit(
                workers.dataset(experiment.dataset("train", shard=workers.shard)),
                validation_data=workers.dataset(experiment.dataset("validation", shard=workers.shard)),
                epochs=config.training.epochs,
                callbacks=callbacks,
                verbose=0,
                shuffle=False,  # the plan shuffles
            )
    except KeyboardInterrupt:
        interrupted = True
        LOGGER.warning("Interrupted: the best weights so far are kept.")
    best.restore(model)
    epoch = "none finished" if best.best_epoch is None else f"best epoch {best.best_epoch + 1}"
    LOGGER.info("trained %.1f s, %s", time.perf_counter() - started, epoch)
    return Fit(log.rows, best.best_epoch, interrupted)
