"""Layers that turn the logits of relevance into those of clicks, in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import layers, ops

from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.features.layers import FeatureEncoder
from ml4ir_losses.model.layers import Perceptron


class PositionBiasLayer(layers.Layer):  # type: ignore[misc]
    """Adds to each document the bias of its shown rank; documents without one (below 1: padding) keep their logits.

    Args:
        outputs: logits per document.
        dropout: share of the queries that keep their logits in training.
        combine: `add` the logits, or `multiply` the probabilities of which they are the logits.
    """

    def __init__(self, outputs: int = 1, dropout: float = 0.0, combine: str = "add", **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.outputs, self.dropout, self.combine = outputs, dropout, combine
        self.seed_generator = keras.random.SeedGenerator()

    def biases(self, positions: Tensor, x: Mapping[str, Tensor]) -> Tensor:
        """The biases [B, N, outputs] of ranks [B, N], each at least 1."""
        raise NotImplementedError

    def call(
        self, logits: Tensor, positions: Tensor, x: Mapping[str, Tensor] | None = None, training: bool | None = None
    ) -> Tensor:
        """The logits of clicks, [B, N] or [B, N, K] like those of relevance."""
        positions = ops.cast(positions, "float32")
        applies = positions >= 1.0
        bias = self.biases(ops.maximum(positions, 1.0), x or {})
        bias = bias[..., 0] if len(logits.shape) == 2 else bias
        if training and self.dropout:
            kept = keras.random.uniform((ops.shape(positions)[0], 1), seed=self.seed_generator) >= self.dropout
            applies = ops.logical_and(applies, kept)
        combined = logits + bias if self.combine == "add" else logit_of_product(logits, bias)
        return ops.where(applies if len(logits.shape) == 2 else applies[..., None], combined, logits)


class RankBias(PositionBiasLayer):
    """A trained bias per rank, 0 at first; the ranks from `max_position` on share one."""

    def __init__(self, max_position: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.max_position = max_position

    def build(self, input_shape: Any = None) -> None:
        self.bias = self.add_weight(name="bias", shape=(self.max_position, self.outputs), initializer="zeros")
        self.built = True

    def biases(self, positions: Tensor, x: Mapping[str, Tensor]) -> Tensor:
        return ops.take(self.bias, rank_index(positions, self.max_position), axis=0)


class BiasTower(PositionBiasLayer):
    """A multilayer perceptron of the rank, one-hot, and of inputs of its own."""

    def __init__(
        self,
        max_position: int,
        hidden_units: Sequence[int],
        activation: str = "relu",
        inputs: Sequence[Any] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.max_position = max_position
        # One encoder each, since inputs of the query and of documents have different shapes.
        self.encoders = [FeatureEncoder([fitted], dtype="float32", autocast=False) for fitted in inputs]
        self.hidden = Perceptron(hidden_units, activation, dtype="float32")
        self.head = layers.Dense(self.outputs, dtype="float32")

    def build(self, input_shape: Any = None) -> None:
        for encoder in self.encoders:
            encoder.build()
        width = self.max_position + sum(encoder.width for encoder in self.encoders)
        self.hidden.build((None, None, width))
        self.head.build(self.hidden.compute_output_shape((None, None, width)))
        self.built = True

    def biases(self, positions: Tensor, x: Mapping[str, Tensor]) -> Tensor:
        ranks = ops.one_hot(rank_index(positions, self.max_position), self.max_position, dtype="float32")
        parts = [ops.cast(encoder.embed(encoder.raw(x)), "float32") for encoder in self.encoders]
        ones = ops.ones_like(ranks[..., :1])
        parts = [part if len(part.shape) == 3 else part[:, None, :] * ones for part in parts]
        return self.head(self.hidden(ops.concatenate([ranks, *parts], axis=-1)))


def rank_index(positions: Tensor, size: int) -> Tensor:
    """Ranks, at least 1, as indices 0 to size - 1; later ranks share the last."""
    return ops.cast(ops.minimum(positions, float(size)) - 1.0, "int32")


def logit_of_product(a: Tensor, b: Tensor) -> Tensor:
    r"""The logit of σ(a) σ(b), exact for large logits too.

    $$\ln\sigma(a) + \ln\sigma(b) - \ln(\sigma(-a) + \sigma(a)\sigma(-b))$$
    """
    seen = ops.log_sigmoid(a)
    return seen + ops.log_sigmoid(b) - ops.logaddexp(ops.log_sigmoid(-a), seen + ops.log_sigmoid(-b))
