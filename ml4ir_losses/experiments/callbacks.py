"""Keras callbacks of a training run: best weights, history, progress."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import keras

from ml4ir_losses.config.explain import unknown
from ml4ir_losses.core.errors import ConfigError
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.data.feeding import Feeding
from ml4ir_losses.data.sharding import START, Position
from ml4ir_losses.experiments.run_folder import RunFolder
from ml4ir_losses.model.state import seed_random_state


class BestWeights(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps the weights of the best epoch, also for a run that is interrupted; stops after `patience` epochs.

    Args:
        monitor: the monitored value, for example `val_ndcg_10`.
        mode: `max` or `min`.
        patience: number of epochs without improvement after which training stops; None: never.
        min_delta: the smallest change that counts as an improvement.
        start_from_epoch: earlier epochs (from 0) are only kept as best if this epoch is never reached: on a small
            validation split a lucky first epoch would win.
    """

    saved_as = "best"

    def __init__(
        self,
        monitor: str,
        mode: str,
        patience: int | None = None,
        min_delta: float = 0.0,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__()
        self.monitor, self.mode, self.patience, self.min_delta = monitor, mode, patience, min_delta
        self.start_from_epoch = start_from_epoch
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.weights: list[Any] | None = None

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if epoch == self.start_from_epoch:
            self.best = None
        value = (logs or {}).get(self.monitor)
        if value is None:
            if not math.isfinite((logs or {}).get("loss", 0.0)):
                return  # nothing was evaluated; the log of the epoch ends the run
            known = [name for name in logs or () if name != "loss"] or ["loss"]
            raise ConfigError(f"training.early_stopping.monitor: {unknown(self.monitor, known)}")
        if not math.isfinite(value):
            return
        sign = 1.0 if self.mode == "max" else -1.0
        if self.best is None or sign * (value - self.best) > self.min_delta:
            self.best, self.best_epoch = float(value), epoch
            self.weights = self.model.get_weights()
        elif self.patience is not None:
            waited = epoch - max(self.best_epoch or 0, self.start_from_epoch)
            self.model.stop_training = waited >= self.patience

    def restore(self, model: Any) -> bool:
        """Restores the best weights; False if there are none."""
        if self.weights is not None:
            model.set_weights(self.weights)
        return self.weights is not None

    def saved(self) -> tuple[dict[str, Any], list[Any]]:
        """The best value and its epoch, and the weights."""
        return {"best": self.best, "epoch": self.best_epoch}, self.weights or []

    def resume(self, values: Mapping[str, Any], arrays: list[Any]) -> None:
        """Takes over what `saved` gave."""
        self.best, self.best_epoch, self.weights = values["best"], values["epoch"], arrays or None


class EpochLog(keras.callbacks.Callback):  # type: ignore[misc]
    """One log line per epoch, and `history.csv` and `times.csv` in the folder, if any.

    Equal trainings write equal histories, so that the times are in a file of their own.
    """

    saved_as = "epochs"

    def __init__(self, folder: RunFolder | None, epochs: int, best: BestWeights) -> None:
        super().__init__()
        self.folder, self.epochs, self.best = folder, epochs, best
        self.rows: list[dict[str, float]] = []
        self.seconds: list[float] = []
        self.started = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        values = {name: float(value) for name, value in (logs or {}).items()}
        seconds = time.perf_counter() - self.started
        self.rows.append({"epoch": epoch + 1, **values})
        self.seconds.append(round(seconds, 3))
        self.write()
        shown = {"loss": values.get("loss"), self.best.monitor: values.get(self.best.monitor)}
        text = "  ".join(f"{name} {value:.4f}" for name, value in shown.items() if value is not None)
        star = "  *" if self.best.best_epoch == epoch else ""
        LOGGER.info("epoch %*d/%d  %s  %.1f s%s", len(str(self.epochs)), epoch + 1, self.epochs, text, seconds, star)

    def write(self) -> None:
        """Writes the files."""
        if self.folder is None or not self.rows:
            return
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        self.folder.write_csv("history.csv", names, ([row.get(name) for name in names] for row in self.rows))
        self.folder.write_csv("times.csv", ["epoch", "seconds"], enumerate(self.seconds, start=1))

    def saved(self) -> tuple[dict[str, Any], list[Any]]:
        """The rows and times so far."""
        return {"rows": self.rows, "seconds": self.seconds}, []

    def resume(self, values: Mapping[str, Any], arrays: list[Any]) -> None:
        """Takes over what `saved` gave; the files may have more epochs, which come again."""
        self.rows, self.seconds = list(values["rows"]), list(values["seconds"])
        self.write()


class EpochNumber(keras.callbacks.Callback):  # type: ignore[misc]
    """Tells the datasets of an experiment which epoch begins, and seeds its random numbers."""

    def __init__(self, feeding: Feeding, seed: int = 0) -> None:
        super().__init__()
        self.feeding, self.seed = feeding, seed

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.feeding.epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch == 0 and self.feeding.epoch is not None:
            seed_random_state(self.seed, self.feeding.epoch)


class BatchProgress(keras.callbacks.Callback):  # type: ignore[misc]
    """A progress bar over the batches of an epoch, on a terminal.

    Args:
        progress: a `rich.progress.Progress`.
        steps: the number of batches of an epoch.
        start: the first batch.
    """

    def __init__(self, progress: Any, steps: int, start: Position = START) -> None:
        super().__init__()
        self.progress, self.steps, self.start = progress, steps, start
        self.task: Any = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.before = self.start.of(epoch).batch
        self.task = self.progress.add_task(f"epoch {epoch + 1}", total=self.steps, completed=self.before)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.progress.update(self.task, completed=self.before + batch + 1)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.progress.remove_task(self.task)
