"""Keras callback that runs evaluators at the end of training epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping

import keras

from ml4ir_losses.core.errors import check_whole
from ml4ir_losses.evaluation.evaluators import Evaluator
from ml4ir_losses.evaluation.sparsity import evaluate


class EvaluationCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Adds `val_<evaluator>_<metric>` to the logs of an epoch, for the callbacks that follow it.

    Place it before the callbacks that read the logs (best weights, early stopping, history). Epochs with a
    non-finite loss are not evaluated.

    Args:
        evaluators: evaluators by name; the metrics of one named "" are called `val_<metric>`.
        every: evaluate every this many epochs; the last epoch is always evaluated.

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
        for name, evaluator in self.evaluators.items():
            values = evaluate(evaluator, self.model)
            prefix = f"val_{name}_" if name else "val_"
            logs.update({prefix + metric: value for metric, value in values.items()})
