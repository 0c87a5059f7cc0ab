"""Evaluators at the end of training epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping

import keras

from ml4ir_losses.core.errors import check_whole
from ml4ir_losses.evaluation.evaluators import Evaluator


class EvaluationCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Puts `val_<evaluator>_<metric>` into the logs of an epoch, for the callbacks that come after it.

    Place it before those that read the logs (best weights, early stopping, history). An epoch whose loss is not
    finite is not evaluated.

    Args:
        evaluators: evaluator by name.
        every: epochs between two evaluations; the last epoch is evaluated in any case.

    Raises:
        UserError: unless `every` is a whole number of at least 1.
    """

    def __init__(self, evaluators: Mapping[str, Evaluator], every: int = 1) -> None:
        super().__init__()
        check_whole(1, every=every)
        self.evaluators, self.every = dict(evaluators), every

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        last = epoch + 1 == (self.params or {}).get("epochs")
        if logs is None or not (last or (epoch + 1) % self.every == 0) or not math.isfinite(logs.get("loss", 0.0)):
            return
        for evaluator, values in (
            (name, evaluator.evaluate(self.model)) for name, evaluator in self.evaluators.items()
        ):
            logs.update({f"val_{evaluator}_{metric}": value for metric, value in values.items()})
