"""Judges at the end of training epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping

import keras

from ml4ir_losses.core.errors import check_whole
from ml4ir_losses.evaluation.judges import Judge


class JudgingCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Puts `val_<judge>_<metric>` into the logs of an epoch, for the callbacks that come after it.

    Place it before those that read the logs (best weights, early stopping, history). An epoch whose loss is not
    finite is not judged.

    Args:
        judges: judge by name.
        every: epochs between two judgings; the last epoch is judged in any case.

    Raises:
        UserError: unless `every` is a whole number of at least 1.
    """

    def __init__(self, judges: Mapping[str, Judge], every: int = 1) -> None:
        super().__init__()
        check_whole(1, every=every)
        self.judges, self.every = dict(judges), every

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        last = epoch + 1 == (self.params or {}).get("epochs")
        if logs is None or not (last or (epoch + 1) % self.every == 0) or not math.isfinite(logs.get("loss", 0.0)):
            return
        for judge, values in ((name, judge.judge(self.model)) for name, judge in self.judges.items()):
            logs.update({f"val_{judge}_{metric}": value for metric, value in values.items()})
