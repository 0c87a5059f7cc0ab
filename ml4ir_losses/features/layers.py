"""The feature encoder: Keras layers that turn a batch of raw inputs into one tensor per query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from ml4ir_losses.config.inputs import Scope
from ml4ir_losses.core.errors import DataError, did_you_mean
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.core.names import MASK
from ml4ir_losses.features.fitted import FittedInput, load_fitted
from ml4ir_losses.features.lookup import string_lookup
from ml4ir_losses.features.query_ranks import query_rank
from ml4ir_losses.features.transforms import apply_transforms


@dataclass(frozen=True)
class EncodedFeature:
    """A column of the data in the encoded tensor [B, N, F].

    `positions` along F: of a number, its missing indicator and its rank, or of an embedding.
    """

    name: str
    scope: Scope
    positions: Sequence[int]


def fill_missing(x: Tensor, fill: Any) -> Tensor:
    """x with NaN replaced by `fill`."""

    def filled() -> Tensor:
        return ops.where(ops.isnan(x), fill, x)

    if keras.backend.backend() != "tensorflow":
        return filled()
    # Most batches have no missing values: a sum, NaN if any value is NaN, is cheaper than a copy of x.
    return ops.cond(ops.isnan(ops.sum(x)), filled, lambda: x)


@keras.saving.register_keras_serializable("ml4ir_losses")
class NumericEncoder(keras.layers.Layer):  # type: ignore[misc]
    """Fills missing cells and applies the transforms, in float32 under any precision policy."""

    def __init__(self, fitted: FittedInput | Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.fitted = load_fitted([fitted])[0]
        self.fill = np.asarray(self.fitted.fill, "float32")

    @property
    def width(self) -> int:
        """Values per document."""
        return len(self.fitted.columns) * (1 + self.fitted.missing_indicator + self.fitted.query_rank)

    def build(self, input_shape: Any = None) -> None:
        """There is no state to build."""

    def call(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        filled = fill_missing(x, self.fill)
        parts = [apply_transforms(filled, self.fitted.transforms, ops)]
        if self.fitted.missing_indicator:
            parts.append(ops.cast(ops.isnan(x), filled.dtype))
        if self.fitted.query_rank:
            parts.append(query_rank(filled, valid))
        return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "fitted": self.fitted.model_dump()}


@keras.saving.register_keras_serializable("ml4ir_losses")
class IdEncoder(keras.layers.Layer):  # type: ignore[misc]
    """Embedding of a category, or the mean embedding of a text's words; strings are looked up first."""

    def __init__(self, fitted: FittedInput | Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fitted = load_fitted([fitted])[0]
        text = self.fitted.type == "text"
        rows = self.fitted.num_buckets or max(len(self.fitted.vocabulary), 1) + (2 if text else 1)
        self.embedding = keras.layers.Embedding(rows, self.fitted.embedding_dim, dtype=self.dtype_policy)
        self.lookup: Any = string_lookup(self.fitted) if keras.backend.backend() == "tensorflow" else None

    @property
    def width(self) -> int:
        """Values per document."""
        return self.fitted.embedding_dim

    def build(self, input_shape: Any = None) -> None:
        self.embedding.build(input_shape)

    def call(self, x: Tensor) -> Tensor:
        x = self.ids(x)
        embedded = self.embedding(x)
        if self.fitted.type != "text":
            return embedded
        known = ops.cast(ops.not_equal(x, 0), embedded.dtype)[..., None]
        return ops.sum(embedded * known, axis=-2) / ops.maximum(ops.sum(known, axis=-2), 1.0)

    def ids(self, x: Tensor) -> Tensor:
        """Ids of strings; ids stay as they are."""
        if keras.backend.standardize_dtype(x.dtype) != "string":
            return x
        if self.fitted.type != "text":
            return self.lookup(x)
        shape = ops.shape(x)
        return ops.reshape(self.lookup(ops.reshape(x, (-1,))), (*shape, self.fitted.max_length))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "fitted": self.fitted.model_dump()}


@keras.saving.register_keras_serializable("ml4ir_losses")
class FeatureEncoder(keras.layers.Layer):  # type: ignore[misc]
    """All inputs of a query as one tensor [B, N, F]; query inputs are repeated for each document."""

    def __init__(self, inputs: Sequence[FittedInput | Mapping[str, Any]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.inputs = load_fitted(inputs)
        self.encoders = [
            NumericEncoder(i, name=f"input_{n}")
            if i.type == "numeric"
            else IdEncoder(i, name=f"input_{n}", dtype=self.dtype_policy)
            for n, i in enumerate(self.inputs)
        ]

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
            end, columns = start + encoder.width, fitted.columns
            for c, column in enumerate(columns):  # the values of all columns, then their indicators, then their ranks
                found.setdefault((column, fitted.scope), []).extend(range(start + c, end, len(columns)))
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
            fitted.name: self._encode(fitted, encoder, x)
            if fitted.type == "numeric"
            else encoder.ids(_input(fitted, x))
            for fitted, encoder in zip(self.inputs, self.encoders, strict=True)
        }

    def embed(self, raw: Mapping[str, Tensor]) -> Tensor:
        """Features [R, F] of R documents, from their inputs as `raw` returns them."""
        parts = [
            raw[fitted.name] if fitted.type == "numeric" else encoder(raw[fitted.name])
            for fitted, encoder in zip(self.inputs, self.encoders, strict=True)
        ]
        return ops.concatenate([ops.cast(part, self.compute_dtype) for part in parts], axis=-1)

    def call(self, x: Mapping[str, Tensor]) -> Tensor:
        parts = [self._encode(fitted, encoder, x) for fitted, encoder in zip(self.inputs, self.encoders, strict=True)]
        documents = [p for p, i in zip(parts, self.inputs, strict=True) if i.scope == "document"]
        ones = ops.ones_like(documents[0][..., :1])
        expanded = [
            ops.cast(
                part if i.scope == "document" else part[:, None, :] * ops.cast(ones, part.dtype), self.compute_dtype
            )
            for part, i in zip(parts, self.inputs, strict=True)
        ]
        return expanded[0] if len(expanded) == 1 else ops.concatenate(expanded, axis=-1)

    def _encode(self, fitted: FittedInput, encoder: Any, x: Mapping[str, Tensor]) -> Tensor:
        value = _input(fitted, x)
        rank = (2 if fitted.scope == "document" else 1) + (fitted.type != "categorical")
        if fitted.type == "numeric" and len(value.shape) == rank - 1 and len(fitted.columns) == 1:
            value = value[..., None]
        if fitted.query_rank:
            return encoder(value, valid=dict(x).get(MASK))
        return encoder(value)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "inputs": [i.model_dump() for i in self.inputs]}


def _input(fitted: FittedInput, x: Mapping[str, Tensor]) -> Tensor:
    if fitted.name not in x:
        raise DataError(f"The model's input {fitted.name!r} is missing.{did_you_mean(fitted.name, x)}")
    return ops.convert_to_tensor(x[fitted.name])
