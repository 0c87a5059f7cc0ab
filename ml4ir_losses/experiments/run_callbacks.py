"""Keras callbacks of a run: its status, a loss that is no number, and signals."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras

from ml4ir_losses.core.errors import DivergedError
from ml4ir_losses.core.interrupts import allow_signals, delay_signals
from ml4ir_losses.data.sharding import START, Position
from ml4ir_losses.experiments.checkpoints.callback import Checkpoints
from ml4ir_losses.experiments.run_folder import RunFolder


class FiniteLoss(keras.callbacks.Callback):  # type: ignore[misc]
    """Ends a training whose loss is no longer a number, at the next batch, and names the first batch without one.

    Keras passes the mean loss of the epoch so far: once it is no number, it stays so.

    Args:
        describe: what the batch of a position holds.
        start: the first batch that is trained.

    Raises:
        DivergedError: in the batch after it, or at the end of the epoch.
    """

    async_safe = True  # Keras then need not wait for the loss of a batch before it starts the next one

    def __init__(self, describe: Callable[[Position], str], start: Position = START) -> None:
        super().__init__()
        self.describe, self.start = describe, start
        self._first = start
        self._found: dict[int, float] = {}

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._first = self.start.of(epoch)
        self._found.clear()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            self._found[batch] = loss

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self._found:
            self._stop()

    def on_test_begin(self, logs: Any = None) -> None:
        if self._found:
            self._stop()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if self._found or not math.isfinite(loss):
            self._stop(loss)

    def _stop(self, loss: float = math.nan) -> None:
        time.sleep(0.1)  # the losses of earlier batches may be on their way in other threads
        place = ""
        if self._found:
            batch, loss = min(self._found.items())
            position = Position(self._first.epoch, self._first.batch + batch)
            place = f", batch {position.batch + 1}{self.describe(position)}"
        raise DivergedError(
            f"The training loss became {loss} in epoch {self._first.epoch + 1}{place}: lower "
            "model.optimizer.learning_rate or set model.optimizer.clipnorm."
        )


class RunProgress(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps epoch and batch in the status of a run."""

    def __init__(self, folder: RunFolder, epochs: int, steps: int, start: Position = START) -> None:
        super().__init__()
        self.folder, self.epochs, self.steps, self.start = folder, epochs, steps, start
        self._first = 0

    def on_train_begin(self, logs: Any = None) -> None:
        place = {"epoch": self.start.epoch + 1, "epochs": self.epochs, "batches": self.steps}
        self.folder.update(phase="training", trained=False, **place)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._first = self.start.of(epoch).batch
        self.folder.progress(epoch=epoch + 1, batch=self._first)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.folder.progress(batch=self._first + batch)


class SafeStop(keras.callbacks.Callback):  # type: ignore[misc]
    """Lets Ctrl-C and SIGTERM wait until `Checkpoints` has written one, between two batches of training or evaluation.

    Callbacks that evaluate the epoch may take long. Nothing waits while they run, between this one and `after`.

    Args:
        checkpoints: the callback that writes checkpoints and raises what came; None: nothing waits.
    """

    def __init__(self, checkpoints: Checkpoints | None) -> None:
        super().__init__()
        self.checkpoints = checkpoints
        self.after = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: self.begin())
        self._waits = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.begin()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self.checkpoints is not None and self.checkpoints.workers.count == 1:  # several stop at the same place
            self.checkpoints.between_training_and_end()
            self.end()

    def begin(self) -> None:
        """From here on signals wait."""
        if self.checkpoints is not None and not self._waits:
            self._waits = True
            delay_signals()

    def end(self) -> None:
        """Nothing waits any more; what came is forgotten."""
        if self._waits:
            self._waits = False
            allow_signals(raising=False)
