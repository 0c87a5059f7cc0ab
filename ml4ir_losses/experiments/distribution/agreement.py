"""What several processes must decide alike."""

from __future__ import annotations

import keras
import numpy as np

from ml4ir_losses.experiments.distribution.workers import Workers

_LEAST = -(2**63)


class ChiefLogs(keras.callbacks.Callback):  # type: ignore[misc]
    """Gives every process the logs of the chief, bit by bit, at the end of an epoch.

    Best weights, early stopping and learning rate follow from the logs. Evaluators run in each process, and other
    machines may round otherwise; processes that do not stop at the same epoch would wait for each other for ever.

    Args:
        workers: the processes.
    """

    def __init__(self, workers: Workers) -> None:
        super().__init__()
        self.workers = workers

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        for name, value in (logs or {}).items():
            bits = int(np.float64(value).view(np.int64)) if self.workers.chief else _LEAST
            logs[name] = float(np.int64(self.workers.maximum(bits)).view(np.float64))  # type: ignore[index]
