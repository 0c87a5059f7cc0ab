"""Scorers: layers that map features [B, N, F] and mask [B, N] to logits [B, N] or [B, N, outputs]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor


@keras.saving.register_keras_serializable("ml4ir_losses")
class DenseScorer(layers.Layer):  # type: ignore[misc]
    """A multilayer perceptron with a float32 output layer (bfloat16 scores would tie)."""

    def __init__(
        self,
        hidden_units: Sequence[int],
        activation: str = "relu",
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        layer_norm: bool = False,
        l2: float = 0.0,
        outputs: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.config = {
            "hidden_units": list(hidden_units),
            "activation": activation,
            "dropout": dropout,
            "input_dropout": input_dropout,
            "layer_norm": layer_norm,
            "l2": l2,
            "outputs": outputs,
        }
        try:
            keras.activations.get(activation)
        except ValueError:
            raise UserError(f"`activation` must be a Keras activation. Received: {activation!r}.") from None
        policy = self.dtype_policy
        penalty = keras.regularizers.L2(l2) if l2 else None
        self.stack: list[Any] = []
        if input_dropout:
            self.stack.append(layers.Dropout(input_dropout, dtype=policy))
        for units in hidden_units:
            self.stack.append(layers.Dense(units, kernel_regularizer=penalty, dtype=policy))
            if layer_norm:
                self.stack.append(layers.LayerNormalization(dtype=policy))
            self.stack.append(layers.Activation(activation, dtype=policy))
            if dropout:
                self.stack.append(layers.Dropout(dropout, dtype=policy))
        self.head = layers.Dense(outputs, kernel_regularizer=penalty, dtype="float32")

    def build(self, input_shape: Any) -> None:
        rows = (None, input_shape[-1])
        for layer in self.stack:
            layer.build(rows)
            rows = layer.compute_output_shape(rows)
        self.head.build(rows)

    def call(self, x: Tensor, valid: Tensor | None = None, training: bool | None = None) -> Tensor:
        # Flattened to rows: a 2D matrix product is faster, and TensorFlow fuses bias and activation into it.
        *lists, features = ops.shape(x)
        x = ops.reshape(x, (-1, features))
        for layer in self.stack:
            x = layer(x, training=training) if isinstance(layer, layers.Dropout) else layer(x)
        logits = self.head(x)
        return ops.reshape(logits, lists if self.config["outputs"] == 1 else (*lists, logits.shape[-1]))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.config}
