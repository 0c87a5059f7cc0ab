"""Scorers: layers that map features [B, N, F] and mask [B, N] to logits [B, N] or [B, N, outputs]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.features.layers import EncodedFeature


@keras.saving.register_keras_serializable("ml4ir_losses")
class Perceptron(layers.Layer):  # type: ignore[misc]
    """The hidden layers of a multilayer perceptron: rows [R, F] to [R, width of the last layer]."""

    def __init__(
        self,
        hidden_units: Sequence[int],
        activation: str = "relu",
        dropout: float = 0.0,
        layer_norm: bool = False,
        l2: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.config: dict[str, Any] = {
            "hidden_units": list(hidden_units),
            "activation": activation,
            "dropout": dropout,
            "layer_norm": layer_norm,
            "l2": l2,
        }
        check_activation(activation)
        policy = self.dtype_policy
        self.stack: list[Any] = []
        for units in hidden_units:
            self.stack.append(layers.Dense(units, kernel_regularizer=penalty(l2), dtype=policy))
            if layer_norm:
                self.stack.append(layers.LayerNormalization(dtype=policy))
            self.stack.append(layers.Activation(activation, dtype=policy))
            if dropout:
                self.stack.append(layers.Dropout(dropout, dtype=policy))

    def build(self, input_shape: Any) -> None:
        for layer in self.stack:
            layer.build(input_shape)
            input_shape = layer.compute_output_shape(input_shape)

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        for layer in self.stack:
            x = layer(x, training=training) if isinstance(layer, layers.Dropout) else layer(x)
        return x

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:-1], [input_shape[-1], *self.config["hidden_units"]][-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.config}


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
        self.input_dropout = layers.Dropout(input_dropout, dtype=self.dtype_policy)
        self.hidden = Perceptron(hidden_units, activation, dropout, layer_norm, l2, dtype=self.dtype_policy)
        self.head = layers.Dense(outputs, kernel_regularizer=penalty(l2), dtype="float32")
        self.config = {**self.hidden.config, "input_dropout": input_dropout, "outputs": outputs}

    def build(self, input_shape: Any) -> None:
        rows = (None, input_shape[-1])
        self.hidden.build(rows)
        self.head.build(self.hidden.compute_output_shape(rows))

    def call(self, x: Tensor, valid: Tensor | None = None, training: bool | None = None) -> Tensor:
        rows = self.input_dropout(as_rows(x), training=training)
        return as_logits(self.head(self.hidden(rows, training=training)), x)

    @property
    def is_additive(self) -> bool:
        """True if the logit is a bias and a sum over features."""
        return not self.config["hidden_units"] and self.config["outputs"] == 1

    def feature_parts(self, x: Tensor, features: Sequence[EncodedFeature]) -> dict[str, Tensor]:
        """What each feature adds to the logits, [B, N] each, where `is_additive`."""
        products = ops.cast(x, "float32") * ops.reshape(self.head.kernel, (-1,))
        parts: dict[str, Tensor] = {}
        for one in features:  # a name may be that of a document's and of a query's feature
            part = ops.sum(ops.take(products, np.array(one.positions, "int32"), axis=-1), axis=-1)
            parts[one.name] = parts[one.name] + part if one.name in parts else part
        return parts

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.config}


def as_rows(x: Tensor) -> Tensor:
    """[..., F] as rows [R, F]: a 2D matrix product is faster, and TensorFlow fuses bias and activation into it."""
    return ops.reshape(x, (-1, ops.shape(x)[-1]))


def as_logits(rows: Tensor, x: Tensor) -> Tensor:
    """Rows [R, K] as logits of the documents x [..., F]: [...] if K is 1, else [..., K]."""
    lists, outputs = ops.shape(x)[:-1], rows.shape[-1]
    return ops.reshape(rows, lists if outputs == 1 else (*lists, outputs))


def penalty(l2: float) -> Any:
    """The regularizer of a kernel; None for 0."""
    return keras.regularizers.L2(l2) if l2 else None


def check_activation(activation: str) -> None:
    """Raises `UserError` for an unknown activation."""
    try:
        keras.activations.get(activation)
    except ValueError:
        raise UserError(f"`activation` must be a Keras activation. Received: {activation!r}.") from None
