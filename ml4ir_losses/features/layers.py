"""The feature encoder: Keras layers that turn a batch of raw inputs into one tensor per query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from ml4ir_losses.config.input_base import Scope
from ml4ir_losses.core.errors import DataError, did_you_mean
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.core.names import MASK
from ml4ir_losses.features.fitted import FittedInput
from ml4ir_losses.features.kinds import load_fitted


@dataclass(frozen=True)
class EncodedFeature:
    """A column of the data in the encoded tensor [B, N, F].

    `positions` along F: of a number, its missing indicator and its rank, or of an embedding.
    """

    name: str
    scope: Scope
    positions: Sequence[int]


@keras.saving.register_keras_serializable("ml4ir_losses")
class FeatureEncoder(keras.layers.Layer):  # type: ignore[misc]
    """All inputs of a query as one tensor [B, N, F]; query inputs are repeated for each document.

    Args:
        inputs: the fitted inputs.
        dropout: probability that a feature is 0 in all documents of a list in training; the others are not scaled up.
    """

    def __init__(self, inputs: Sequence[FittedInput | Mapping[str, Any]], dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.inputs, self.dropout = load_fitted(inputs), dropout
        if dropout:
            self.seed_generator = keras.random.SeedGenerator()
        self.encoders = [fitted.encoder(f"input_{n}", self.dtype_policy) for n, fitted in enumerate(self.inputs)]
        by_name = {encoder.fitted.name: encoder for encoder in self.encoders}
        for encoder in self.encoders:
            encoder.share(by_name)

    @property
    def width(self) -> int:
        """Values per document."""
        return sum(encoder.width for encoder in self.encoders)

    @property
    def features(self) -> list[EncodedFeature]:
        """The columns of the inputs; one that several inputs read is one feature."""
        found: dict[tuple[str, Scope], list[int]] = {}
        start = 0
        for fitted, encoder in zip(self.inputs, self.encoders, strict=True):
            end, names = start + encoder.width, fitted.features
            for i, name in enumerate(names):  # the values of all columns, then their indicators, then their ranks
                found.setdefault((name, fitted.scope), []).extend(range(start + i, end, len(names)))
            start = end
        return [EncodedFeature(name, scope, positions) for (name, scope), positions in found.items()]

    def build(self, input_shape: Any = None) -> None:
        for encoder in self.encoders:
            encoder.build()

    def raw(self, x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Each input before the trained layers: transformed numbers, or ids.

        `embed` turns them into features, also those of selected documents [R, ...] if no input has the scope `query`.
        """
        return {
            fitted.name: encoder.raw(*_arguments(fitted, x))
            for fitted, encoder in zip(self.inputs, self.encoders, strict=True)
        }

    def embed(self, raw: Mapping[str, Tensor], training: bool | None = None) -> Tensor:
        """Features [R, F] of R documents, from their inputs as `raw` returns them."""
        parts = [encoder.embed(raw[fitted.name]) for fitted, encoder in zip(self.inputs, self.encoders, strict=True)]
        return self._dropped(ops.concatenate([ops.cast(part, self.compute_dtype) for part in parts], axis=-1), training)

    def call(self, x: Mapping[str, Tensor], training: bool | None = None) -> Tensor:
        parts = [encoder(*_arguments(fitted, x)) for fitted, encoder in zip(self.inputs, self.encoders, strict=True)]
        documents = [p for p, i in zip(parts, self.inputs, strict=True) if i.scope == "document"]
        ones = ops.ones_like(documents[0][..., :1])
        expanded = [
            ops.cast(
                part if i.scope == "document" else part[:, None, :] * ops.cast(ones, part.dtype), self.compute_dtype
            )
            for part, i in zip(parts, self.inputs, strict=True)
        ]
        return self._dropped(expanded[0] if len(expanded) == 1 else ops.concatenate(expanded, axis=-1), training)

    def _dropped(self, encoded: Tensor, training: bool | None) -> Tensor:
        """The features [..., F] without those that are dropped, of a list or of a document selected from it."""
        if not (self.dropout and training):
            return encoded
        features = self.features
        feature = np.zeros(self.width, "int32")
        for i, one in enumerate(features):
            feature[list(one.positions)] = i
        lists = ops.shape(encoded)[0]
        drawn = keras.random.uniform((lists, len(features)), dtype="float32", seed=self.seed_generator)
        is_kept = ops.cast(ops.take(drawn, feature, axis=1) >= self.dropout, encoded.dtype)
        return encoded * (is_kept if len(encoded.shape) == 2 else is_kept[:, None, :])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "inputs": [i.model_dump() for i in self.inputs], "dropout": self.dropout}


def _arguments(fitted: FittedInput, x: Mapping[str, Tensor]) -> list[Tensor]:
    """The value of an input, and the mask of the documents if it reads the list."""
    if fitted.name not in x:
        raise DataError(f"The model's input {fitted.name!r} is missing.{did_you_mean(fitted.name, x)}")
    value = ops.convert_to_tensor(x[fitted.name])
    return [value, dict(x).get(MASK)] if fitted.reads_list else [value]
