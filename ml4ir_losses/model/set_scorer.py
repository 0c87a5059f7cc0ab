"""The scorer of the architecture `set_transformer`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import layers, ops

from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.features.transforms import apply_transforms
from ml4ir_losses.model.attention import SetAttention
from ml4ir_losses.model.layers import Perceptron, as_logits, as_rows, penalty


@keras.saving.register_keras_serializable("ml4ir_losses")
class SetScorer(layers.Layer):  # type: ignore[misc]
    """A multilayer perceptron whose last hidden layer h is scaled by the attention a over the list: (1 + W a) h.

    Args:
        perceptron: parameters of the `Perceptron`.
        attention: parameters of the `SetAttention`.
        log1p: replace each feature x by sign(x) log(1 + |x|).
        noise: standard deviation of the Gaussian noise added to the features in training.
        input_dropout: dropout rate of the features.
        latent_cross: False: concatenate h and a instead.
        l2: L2 regularization factor of the head.
        outputs: logits per document.
    """

    def __init__(
        self,
        perceptron: Mapping[str, Any],
        attention: Mapping[str, Any],
        log1p: bool = True,
        noise: float = 0.0,
        input_dropout: float = 0.0,
        latent_cross: bool = True,
        l2: float = 0.0,
        outputs: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.config: dict[str, Any] = {
            "perceptron": dict(perceptron),
            "attention": dict(attention),
            "log1p": log1p,
            "noise": noise,
            "input_dropout": input_dropout,
            "latent_cross": latent_cross,
            "l2": l2,
            "outputs": outputs,
        }
        policy = self.dtype_policy
        self.transforms = [{"key": "log1p"}] if log1p else []
        self.seed_generator = keras.random.SeedGenerator()
        self.input_dropout = layers.Dropout(input_dropout, dtype=policy)
        self.hidden = Perceptron(**perceptron, dtype=policy)
        self.attention = SetAttention(**attention, dtype=policy)
        self.cross: Any = None
        self.head = layers.Dense(outputs, kernel_regularizer=penalty(l2), dtype="float32")

    def build(self, input_shape: Any) -> None:
        rows = (None, input_shape[-1])
        self.hidden.build(rows)
        self.attention.build(input_shape)
        _, width = self.hidden.compute_output_shape(rows)
        size = self.config["attention"]["size"]
        if self.config["latent_cross"]:
            self.cross = layers.Dense(width, dtype=self.dtype_policy)
            self.cross.build((None, size))
        self.head.build((None, width if self.config["latent_cross"] else width + size))

    def call(self, x: Tensor, valid: Tensor | None = None, training: bool | None = None) -> Tensor:
        x = apply_transforms(x, self.transforms, ops)
        if training and self.config["noise"]:  # Keras's GaussianNoise allows no standard deviation above 1
            x = x + self.config["noise"] * keras.random.normal(ops.shape(x), dtype=x.dtype, seed=self.seed_generator)
        x = self.input_dropout(x, training=training)
        hidden = self.hidden(as_rows(x), training=training)
        context = as_rows(self.attention(x, valid, training=training))
        if self.cross is None:
            return as_logits(self.head(ops.concatenate([hidden, context], axis=-1)), x)
        return as_logits(self.head((1.0 + self.cross(context)) * hidden), x)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.config}
