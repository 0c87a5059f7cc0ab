"""The Keras callback that writes checkpoints."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ml4ir_losses.config.training import CheckpointConfig, split_interval
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.interrupts import is_terminated, signal_waits, stop
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.data.sharding import START, Position
from ml4ir_losses.experiments.checkpoints.checkpoint import Arrays, Progress, Resumable, capture, versions
from ml4ir_losses.experiments.checkpoints.folder import write
from ml4ir_losses.experiments.distribution.workers import ONE_PROCESS, Workers
from ml4ir_losses.model.state import config_digest, model_variables, random_state, synchronize, values_of

_AGREE = 64  # batches after which several processes ask each other whether it is time for a checkpoint


class Request(IntEnum):
    """What is asked of a training; of several requests the largest counts.

    `CHECKPOINT` writes a checkpoint, after which training goes on; after that `INTERRUPT` raises `KeyboardInterrupt`,
    and `TERMINATE` raises `Terminated`. Ctrl-C and SIGTERM that wait are such requests.
    """

    NOTHING = 0
    CHECKPOINT = 1
    INTERRUPT = 2
    TERMINATE = 3


class Checkpoints(keras.callbacks.Callback):  # type: ignore[misc]
    """Writes a checkpoint at the interval of the config, and when one is requested; the last of the callbacks.

    Several processes decide at the same batches: all of them read their variables, and the chief writes.

    Args:
        folder: where the files are; it is made with the first of them.
        config: how often, and how many are kept.
        workers: the processes that train together.
    """

    async_safe = True  # Keras need not wait for the device after each batch

    def __init__(self, folder: str | Path, config: CheckpointConfig, workers: Workers = ONE_PROCESS) -> None:
        super().__init__()
        self.folder, self.keep, self.workers = Path(folder), config.keep, workers
        self._number, self._unit = (0, "") if config.every is None else split_interval(config.every)
        self._requested = Request.NOTHING

    def request(self, request: Request = Request.CHECKPOINT) -> None:
        """Asks for a checkpoint before the next batch; signal handlers and other threads may call it."""
        self._requested = max(self._requested, request)

    def watch(self, experiment: Any, parts: Sequence[Resumable], start: Position = START, steps: int = 0) -> None:
        """Called by `fit` before a training, to say what there is to be saved.

        Args:
            experiment: the config, the data and the model.
            parts: what else has a state.
            start: the first batch.
            steps: the number of batches before it.
        """
        self._experiment, self._parts, self._start, self._steps = experiment, list(parts), start, steps
        self._last_write = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._first = self._start.of(epoch)
        self._next, self._trained = self._first, 0
        self._before_test: Arrays | None = None

    # Before a batch: what comes after one runs in another thread, while the next one is trained.
    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._next = Position(self._first.epoch, self._first.batch + batch)
        if batch > 0:
            steps = self._steps + batch
            by_number = self._unit == "step" and steps % self._number == 0
            if request := self._decide(by_number, steps % _AGREE == 0):
                self._act(request, self._next, steps, values_of(self._metrics()), random_state())

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._trained = batch + 1

    def on_test_begin(self, logs: Any = None) -> None:
        # The epoch is trained, and evaluation overwrites its metrics.
        self._before_test = values_of(self._metrics())

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.between_training_and_end()

    def between_training_and_end(self) -> None:
        """Does what is asked of one process while an epoch, whose batches are trained, is evaluated."""
        if self.workers.count == 1 and (request := self._decide(False, True)):
            after = Position(self._next.epoch, self._next.batch + 1)
            metrics = values_of(self._metrics()) if self._before_test is None else self._before_test
            self._act(request, after, self._steps + self._trained, metrics)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._steps += self._trained
        by_number = self._unit == "epoch" and (epoch + 1) % self._number == 0
        if request := self._decide(by_number, True):
            self._act(request, Position(epoch + 1, 0), self._steps)

    def _metrics(self) -> list[Any]:
        synchronize(self.model)
        variables: list[Any] = self.model.metrics_variables
        return variables

    @cached_property
    def _model_digest(self) -> str:
        return config_digest(self._experiment.model)

    def _decide(self, by_number: bool, may_ask: bool) -> Request:
        """What is to be done now, the same in all processes."""
        request = Request(by_number)
        if self.workers.count == 1 or may_ask:
            late = self._unit == "minute" and time.monotonic() - self._last_write > 60 * self._number
            asked = max(self._requested, _request_of_signal(), Request(late))
            request = max(request, Request(self.workers.maximum(asked)))
        return request

    def _act(self, request: Request, position: Position, steps: int, metrics: Arrays = (), random: Arrays = ()) -> None:
        started = time.monotonic()
        self._requested = Request.NOTHING
        progress, arrays = self._state(position, steps, metrics, random)
        if not _are_finite(self.model, arrays):
            LOGGER.warning("checkpoint: some weights are no numbers; the checkpoint before it is kept.")
        elif self.workers.chief:
            try:
                write(self.folder, progress, arrays, self.keep)
            except (UserError, OSError) as error:
                LOGGER.warning("%s Training goes on; the checkpoint before it is kept.", error)
            else:
                place = f"epoch {position.epoch + 1}, batch {position.batch}"
                took = time.monotonic() - started
                LOGGER.info("checkpoint: %s (%.2f s)", place, took, extra={"file_only": True})
        self._last_write = time.monotonic()
        if request >= Request.INTERRUPT:
            stop(terminated=request == Request.TERMINATE)

    def _state(
        self, position: Position, steps: int, metrics: Arrays, random: Arrays
    ) -> tuple[Progress, dict[str, Array]]:
        synchronize(self.model)
        values, arrays = capture(self.model, self._parts, metrics, random)
        progress = Progress(
            position=(position.epoch, position.batch),
            steps=steps,
            stopped=bool(self.model.stop_training),
            config=self._experiment.config.model_dump(mode="json"),
            sources=self._experiment.sources,
            window_bytes=self._experiment.window_bytes,
            model=self._model_digest,
            untrained=self._experiment.untrained,
            parts=values,
            backend=keras.backend.backend(),
            versions=versions(),
        )
        return progress, arrays


def _are_finite(model: Any, arrays: Mapping[str, Array]) -> bool:
    """True unless a weight is NaN or infinite: nobody wants to go on from there."""
    weights = (arrays[f"model/{i}"] for i, v in enumerate(model_variables(model)) if v.trainable)
    return all(bool(np.isfinite(weight).all()) for weight in weights)


def _request_of_signal() -> Request:
    if not signal_waits():
        return Request.NOTHING
    return Request.TERMINATE if is_terminated() else Request.INTERRUPT
