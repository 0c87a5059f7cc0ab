"""The scorer of the architecture `deep_cross`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import layers, ops

from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.model.layers import Perceptron, as_logits, as_rows, penalty


@keras.saving.register_keras_serializable("ml4ir_losses")
class CrossNetwork(layers.Layer):  # type: ignore[misc]
    """Products of features up to the degree `num_layers` + 1, rows [R, F] to [R, F].

    $$x_{l+1} = x_0 \\odot (W_l x_l + b_l) + x_l$$

    with W of the given rank, or any F × F matrix.

    Source: Wang et al., "DCN V2: Improved deep & cross network" (2021).
    """

    def __init__(self, num_layers: int = 2, rank: int | None = None, l2: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config: dict[str, Any] = {"num_layers": num_layers, "rank": rank, "l2": l2}
        self.products: list[list[Any]] = []

    def build(self, input_shape: Any) -> None:
        features, rank = input_shape[-1], self.config["rank"]
        options: dict[str, Any] = {"kernel_regularizer": penalty(self.config["l2"]), "dtype": self.dtype_policy}
        for _ in range(self.config["num_layers"]):
            product = [] if rank is None else [layers.Dense(rank, use_bias=False, **options)]
            product.append(layers.Dense(features, **options))
            shape = input_shape
            for layer in product:
                layer.build(shape)
                shape = layer.compute_output_shape(shape)
            self.products.append(product)

    def call(self, start: Tensor) -> Tensor:
        x = start
        for product in self.products:
            factor = x
            for layer in product:
                factor = layer(factor)
            x = start * factor + x
        return x

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.config}


@keras.saving.register_keras_serializable("ml4ir_losses")
class CrossNetworkScorer(layers.Layer):  # type: ignore[misc]
    """A cross network and a multilayer perceptron, one after the other or side by side, with a float32 output layer.

    Args:
        cross: parameters of the `CrossNetwork`.
        perceptron: parameters of the `Perceptron`.
        parallel: both read the features, and the output layer reads both; False: the perceptron reads the crosses.
        input_dropout: dropout rate of the features.
        l2: L2 regularization factor of the head.
        outputs: logits per document.
    """

    def __init__(
        self,
        cross: Mapping[str, Any],
        perceptron: Mapping[str, Any],
        parallel: bool = True,
        input_dropout: float = 0.0,
        l2: float = 0.0,
        outputs: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.config: dict[str, Any] = {
            "cross": dict(cross),
            "perceptron": dict(perceptron),
            "parallel": parallel,
            "input_dropout": input_dropout,
            "l2": l2,
            "outputs": outputs,
        }
        self.input_dropout = layers.Dropout(input_dropout, dtype=self.dtype_policy)
        self.cross = CrossNetwork(**cross, dtype=self.dtype_policy)
        self.hidden = Perceptron(**perceptron, dtype=self.dtype_policy)
        self.head = layers.Dense(outputs, kernel_regularizer=penalty(l2), dtype="float32")

    def build(self, input_shape: Any) -> None:
        rows = (None, input_shape[-1])
        self.cross.build(rows)
        self.hidden.build(rows)
        _, width = self.hidden.compute_output_shape(rows)
        self.head.build((None, width + input_shape[-1] if self.config["parallel"] else width))

    def call(self, x: Tensor, valid: Tensor | None = None, training: bool | None = None) -> Tensor:
        rows = self.input_dropout(as_rows(x), training=training)
        crossed = self.cross(rows)
        if not self.config["parallel"]:
            return as_logits(self.head(self.hidden(crossed, training=training)), x)
        both = [crossed, self.hidden(rows, training=training)]
        return as_logits(self.head(ops.concatenate(both, axis=-1)), x)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.config}
