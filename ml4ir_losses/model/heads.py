"""Trainable layers between the embeddings and the loss; saved with the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops

from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.ops.similarity import absolute, dot_matrix, unit_vectors


@keras.saving.register_keras_serializable("ml4ir_losses")
class PairHead(layers.Layer):  # type: ignore[misc]
    """Logits [B, K] of a pair's embeddings [B, 2, D]: W [u, v, |u - v|, u·v] + b, blocks selected by `parts`."""

    def __init__(self, num_labels: int, parts: tuple[bool, bool, bool] = (True, True, False), **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.num_labels, self.parts = num_labels, tuple(parts)
        self.dense = layers.Dense(num_labels, dtype="float32")

    def build(self, input_shape: Any) -> None:
        both, difference, product = self.parts
        self.dense.build((input_shape[0], input_shape[-1] * (2 * both + difference + product)))

    def call(self, embeddings: Tensor) -> Tensor:
        u, v = embeddings[:, 0], embeddings[:, 1]
        blocks = [(u, v), (absolute(u - v),), (u * v,)]
        return self.dense(
            ops.concatenate([p for part, on in zip(blocks, self.parts, strict=True) if on for p in part], -1)
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_labels": self.num_labels, "parts": list(self.parts)}


@keras.saving.register_keras_serializable("ml4ir_losses")
class ClassVectors(layers.Layer):  # type: ignore[misc]
    """Similarity or distance [B, K] of embeddings [B, 1, D] to a trainable vector per class.

    `measure` is `cosine`, or `squared_distance` of unit vectors.
    """

    def __init__(self, classes: int, measure: str = "cosine", **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.classes, self.measure = classes, measure

    def build(self, input_shape: Any) -> None:
        # Only directions matter: a normal distribution is isotropic.
        self.vectors = self.add_weight(
            name="vectors",
            shape=(self.classes, input_shape[-1]),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
        )

    def call(self, embeddings: Tensor) -> Tensor:
        cosines = dot_matrix(unit_vectors(embeddings[:, 0]), unit_vectors(ops.convert_to_tensor(self.vectors)))
        return cosines if self.measure == "cosine" else 2.0 - 2.0 * cosines

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "classes": self.classes, "measure": self.measure}


@keras.saving.register_keras_serializable("ml4ir_losses")
class PositiveScalar(layers.Layer):  # type: ignore[misc]
    """A positive trainable scalar, stored as its logarithm."""

    def __init__(self, start: float, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.start = float(start)
        self.build()

    def build(self, input_shape: Any = None) -> None:
        start = keras.initializers.Constant(float(ops.convert_to_numpy(ops.log(self.start))))
        self.logarithm = self.add_weight(name="logarithm", shape=(), initializer=start)
        self.built = True

    def value(self) -> Tensor:
        """The scalar as a tensor."""
        return ops.exp(ops.convert_to_tensor(self.logarithm))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "start": self.start}


def _pair(loss: Any, classes: int) -> PairHead:
    names = ("rep", "difference", "multiplication")
    return PairHead(loss.params["num_labels"], tuple(loss.params[f"concatenation_sent_{n}"] for n in names))


HEADS: dict[str, Callable[[Any, int], Any]] = {
    "pair": _pair,
    "cosine": lambda loss, classes: ClassVectors(classes, "cosine"),
    "squared_distance": lambda loss, classes: ClassVectors(classes, "squared_distance"),
    "projection": lambda loss, classes: layers.Dense(loss.params["projection_dim"], dtype="float32"),
}
"""The head of a loss, from the loss and the number of classes in the training data."""
