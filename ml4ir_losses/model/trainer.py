"""The base class of the models: seeded losses, and a training step that encodes rows in mini-batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.losses import keras_loss
from ml4ir_losses.model.grad_cache import cached_gradients


class Trainer(keras.Model):  # type: ignore[misc]
    """A Keras model that holds the random state of its losses and can encode its rows in mini-batches.

    With `mini_batch_size` a training step (on TensorFlow) holds one mini-batch of rows in memory: see
    `cached_gradients`. A subclass defines the rows in `split_rows`.
    """

    loss_seeds: Mapping[str, Any] = {}
    mini_batch_size: int | None = None

    @property
    def row_layers(self) -> Sequence[Any]:
        """The layers that encode the rows; both passes use the same random draws."""
        raise NotImplementedError

    def split_rows(self, x: Any) -> tuple[Any, Callable[[Any], Tensor], Callable[[Tensor], Any]]:
        """Rows [R, ...], a function from a mini-batch to outputs [r, ...], and one from all outputs to y_pred."""
        raise NotImplementedError

    def functions(self, loss: Any) -> Mapping[str, Any]:
        """The loss functions by task name."""
        return loss if isinstance(loss, Mapping) else {"main": loss}

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compiles as Keras does; seeded losses draw from the model's generators, also after loading."""
        for name, function in self.functions(kwargs.get("loss")).items():
            if isinstance(function, keras_loss.RelevanceLoss):
                self.adopt(name, function)
        if self.mini_batch_size is not None and keras.backend.backend() != "tensorflow":
            LOGGER.warning("mini_batch_size has no effect on %s: batches are taken whole", keras.backend.backend())
        super().compile(*args, **kwargs)

    def adopt(self, name: str, function: keras_loss.RelevanceLoss) -> None:
        """Connects a loss function to the state that the model holds for it."""
        if name in self.loss_seeds:
            function.seed_generator = self.loss_seeds[name]

    def compile_from_config(self, config: Any) -> None:
        """Compiles the model as it was compiled when it was saved."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def train_step(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the Keras training step, or the one in mini-batches."""
        if self.mini_batch_size is None or keras.backend.backend() != "tensorflow":
            return super().train_step(*args, **kwargs)
        import tensorflow as tf

        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(args[0])
        rows, encode, assemble = self.split_rows(x)
        cache: dict[str, Any] = {}

        def loss(outputs: Tensor) -> Tensor:
            cache["y_pred"] = assemble(outputs)
            cache["loss"] = self.compute_loss(x, y, cache["y_pred"], sample_weight, training=True)
            return self.optimizer.scale_loss(cache["loss"])

        draws = [v for layer in self.row_layers for v in layer.non_trainable_variables if "seed_generator" in v.path]
        _, gradients, _ = cached_gradients(encode, loss, rows, self.mini_batch_size, self.trainable_variables, draws)
        self._loss_tracker.update_state(cache["loss"], sample_weight=tf.shape(tf.nest.flatten(x)[0])[0])
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return self.compute_metrics(x, y, cache["y_pred"], sample_weight)
