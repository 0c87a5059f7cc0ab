"""What the models of the builder share: seeded losses, and the training step that embeds in mini-batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.losses import keras_loss
from ml4ir_losses.model.grad_cache import cached_gradients


class Trainer(keras.Model):  # type: ignore[misc]
    """A Keras model whose losses draw from its generators, and which can score its rows in mini-batches.

    With `mini_batch_size` a training step (on TensorFlow) holds one mini-batch of rows in memory: see
    `cached_gradients`. A subclass says in `split_rows` what the rows are.
    """

    loss_seeds: Mapping[str, Any] = {}
    mini_batch_size: int | None = None

    @property
    def row_layers(self) -> Sequence[Any]:
        """The layers that embed the rows; what they draw in the first pass they draw again in the second."""
        raise NotImplementedError

    def split_rows(self, x: Any) -> tuple[Any, Callable[[Any], Tensor], Callable[[Tensor], Any]]:
        """(rows [R, ...], from a mini-batch of rows to outputs [r, ...], from all outputs [R, ...] to y_pred)."""
        raise NotImplementedError

    def functions(self, loss: Any) -> Mapping[str, Any]:
        """The loss functions by the name of their task."""
        return loss if isinstance(loss, Mapping) else {"main": loss}

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """As in Keras; seeded losses of the config draw from the model's generators, also after loading."""
        for name, function in self.functions(kwargs.get("loss")).items():
            if isinstance(function, keras_loss.RelevanceLoss):
                self.adopt(name, function)
        if self.mini_batch_size is not None and keras.backend.backend() != "tensorflow":
            LOGGER.warning("mini_batch_size has no effect on %s: batches are taken whole", keras.backend.backend())
        super().compile(*args, **kwargs)

    def adopt(self, name: str, function: keras_loss.RelevanceLoss) -> None:
        """Gives a loss function the state that the model holds for it."""
        if name in self.loss_seeds:
            function.seed_generator = self.loss_seeds[name]

    def compile_from_config(self, config: Any) -> None:
        """Compiles as the model was when it was saved."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def train_step(self, *args: Any, **kwargs: Any) -> Any:
        """As in Keras, or in mini-batches."""
        if self.mini_batch_size is None or keras.backend.backend() != "tensorflow":
            return super().train_step(*args, **kwargs)
        import tensorflow as tf

        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(args[0])
        rows, encode, assemble = self.split_rows(x)
        kept: dict[str, Any] = {}

        def loss(outputs: Tensor) -> Tensor:
            kept["y_pred"] = assemble(outputs)
            kept["loss"] = self.compute_loss(x, y, kept["y_pred"], sample_weight, training=True)
            return self.optimizer.scale_loss(kept["loss"])

        draws = [v for layer in self.row_layers for v in layer.non_trainable_variables if "seed_generator" in v.path]
        _, gradients, _ = cached_gradients(encode, loss, rows, self.mini_batch_size, self.trainable_variables, draws)
        self._loss_tracker.update_state(kept["loss"], sample_weight=tf.shape(tf.nest.flatten(x)[0])[0])
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return self.compute_metrics(x, y, kept["y_pred"], sample_weight)
