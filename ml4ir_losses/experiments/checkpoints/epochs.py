"""Epochs of which Keras trains the rest."""

from __future__ import annotations

from typing import Any

import keras

from ml4ir_losses.experiments.checkpoints.checkpoint import Checkpoint


def is_empty(batches: Any) -> bool:
    """True for no batches."""
    return next(iter(batches), None) is None


class RestOfEpoch(keras.callbacks.Callback):  # type: ignore[misc]
    """Goes on in the middle of an epoch: metrics and random numbers are those after its first batches.

    Args:
        checkpoint: the checkpoint, which the model has been given.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        self.checkpoint = checkpoint
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch
        if self._in_middle():
            self.checkpoint.restore_metrics(self.model)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch == 0 and self._in_middle():
            self.checkpoint.restore_random_state()

    def _in_middle(self) -> bool:
        position = self.checkpoint.position
        return position.epoch == self._epoch and position.batch > 0


def finish_epoch(model: Any, callbacks: list[Any], checkpoint: Checkpoint, validation: Any, epochs: int) -> bool:
    """Ends an epoch of which every batch was trained, as `fit` does: evaluates, and calls the callbacks.

    Keras cannot fit an epoch without batches. True if a callback stops the training.
    """
    epoch, listed = checkpoint.position.epoch, keras.callbacks.CallbackList(callbacks, model=model, epochs=epochs)
    model.stop_training = False
    listed.on_train_begin()
    listed.on_epoch_begin(epoch)  # `RestOfEpoch` restores the metrics
    logs = dict(model.get_metrics_result())
    if validation is not None:
        values = model.evaluate(validation, callbacks=listed, return_dict=True, verbose=0)
        logs |= {f"val_{name}": value for name, value in values.items()}
    listed.on_epoch_end(epoch, logs)
    return bool(model.stop_training)
