"""The scorer of the architecture `gam`: a sum of functions of single features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.features.layers import EncodedFeature
from ml4ir_losses.model.layers import as_rows, check_activation, penalty
from ml4ir_losses.ops.backend import is_portable


class DensePerFeature(layers.EinsumDense):  # type: ignore[misc]
    """A dense layer per feature, [R, J, size] to [R, J, units]."""

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        if not is_portable():
            return super().call(inputs, training=training)
        features_first = ops.matmul(ops.swapaxes(inputs, 0, 1), self.kernel)  # other runtimes lack sums over any axes
        return ops.swapaxes(features_first, 0, 1) + self.bias


@keras.saving.register_keras_serializable("ml4ir_losses")
class FeatureNetworks(layers.Layer):  # type: ignore[misc]
    """A multilayer perceptron per feature: rows [R, F] to float32 [R, J, outputs] of J features.

    Args:
        positions: for each feature the places of its values in F.
        hidden_units: width of each hidden layer.
        outputs: values per feature.
        activation: a Keras activation.
        dropout: dropout rate of the hidden units.
        l2: L2 regularization factor.
    """

    def __init__(
        self,
        positions: Sequence[Sequence[int]],
        hidden_units: Sequence[int],
        outputs: int = 1,
        activation: str = "relu",
        dropout: float = 0.0,
        l2: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.config: dict[str, Any] = {
            "positions": [list(places) for places in positions],
            "hidden_units": list(hidden_units),
            "outputs": outputs,
            "activation": activation,
            "dropout": dropout,
            "l2": l2,
        }
        check_activation(activation)
        self.width = max(map(len, positions))
        self.stack: list[Any] = []
        size = self.width
        for units in hidden_units:
            self.stack.append(self._dense(size, units, self.dtype_policy))
            self.stack.append(layers.Activation(activation, dtype=self.dtype_policy))
            self.stack.append(layers.Dropout(dropout, dtype=self.dtype_policy))
            size = units
        self.stack.append(self._dense(size, outputs, "float32"))

    def _dense(self, size: int, units: int, dtype: Any) -> Any:
        """A dense layer per feature, [R, J, size] to [R, J, units].

        Random biases spread the bends of a feature's function over its values.
        """
        limit = 1.0 / size**0.5
        return DensePerFeature(
            "rji,jik->rjk",
            output_shape=(len(self.config["positions"]), units),
            bias_axes="jk",
            kernel_initializer=keras.initializers.RandomUniform(-limit, limit),
            bias_initializer=keras.initializers.RandomUniform(-limit, limit),
            kernel_regularizer=penalty(self.config["l2"]),
            dtype=dtype,
        )

    def build(self, input_shape: Any) -> None:
        zero = input_shape[-1]  # the place of a zero that fills up the features with fewer values than the widest
        rows = [[*places, *[zero] * (self.width - len(places))] for places in self.config["positions"]]
        self.places = np.array(rows, "int32").reshape(-1)
        shape = (None, len(rows), self.width)
        for layer in self.stack:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        filled = ops.concatenate([x, ops.zeros_like(x[:, :1])], axis=-1)
        x = ops.reshape(ops.take(filled, self.places, axis=-1), (-1, len(self.config["positions"]), self.width))
        for layer in self.stack:
            x = layer(x, training=training) if isinstance(layer, layers.Dropout) else layer(x)
        return x

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.config}


@keras.saving.register_keras_serializable("ml4ir_losses")
class AdditiveScorer(layers.Layer):  # type: ignore[misc]
    """The sum of a function of each document feature, weighted by functions of the query features.

    Args:
        features: the encoded features.
        hidden_units: width of each hidden layer of a document feature's network.
        query_hidden_units: the same for a query feature's network.
        activation: a Keras activation.
        dropout: dropout rate of the hidden units.
        l2: L2 regularization factor.
    """

    is_additive = True

    def __init__(
        self,
        features: Sequence[EncodedFeature | dict[str, Any]],
        hidden_units: Sequence[int],
        query_hidden_units: Sequence[int] = (),
        activation: str = "relu",
        dropout: float = 0.0,
        l2: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.features = [f if isinstance(f, EncodedFeature) else EncodedFeature(**f) for f in features]
        shared: dict[str, Any] = {"activation": activation, "dropout": dropout, "l2": l2}
        self.config: dict[str, Any] = {
            "hidden_units": list(hidden_units),
            "query_hidden_units": list(query_hidden_units),
            **shared,
        }
        documents = [f.positions for f in self.features if f.scope == "document"]
        queries = [f.positions for f in self.features if f.scope == "query"]
        policy = self.dtype_policy
        self.functions = FeatureNetworks(documents, hidden_units, **shared, dtype=policy)
        self.importance: Any = None
        if queries:
            self.importance = FeatureNetworks(
                queries, query_hidden_units, outputs=len(documents), **shared, dtype=policy
            )

    def build(self, input_shape: Any) -> None:
        self.functions.build((None, input_shape[-1]))
        if self.importance is not None:
            self.importance.build((None, input_shape[-1]))

    def call(self, x: Tensor, valid: Tensor | None = None, training: bool | None = None) -> Tensor:
        return ops.sum(self.parts(x, training), axis=-1)

    def parts(self, x: Tensor, training: bool | None = None) -> Tensor:
        """What each document feature adds to the logits, [B, N, J]."""
        values = self.functions(as_rows(x), training=training)
        parts = ops.reshape(values, (*ops.shape(x)[:-1], values.shape[1]))
        if self.importance is None:
            return parts
        weights = ops.softmax(self.importance(x[:, 0], training=training), axis=-1)  # of any document of the query
        return parts * ops.sum(weights, axis=1)[:, None]

    def feature_parts(self, x: Tensor, features: Sequence[EncodedFeature]) -> dict[str, Tensor]:
        """What each document feature adds to the logits, [B, N] each."""
        parts, names = self.parts(x), [one.name for one in features if one.scope == "document"]
        return {name: parts[..., i] for i, name in enumerate(names)}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "features": [asdict(f) for f in self.features], **self.config}
