"""Inputs of type `text`: the mean embedding of a text's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from ml4ir_losses.config.inputs import TextInput
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.data.table import Table
from ml4ir_losses.features.fitted import Accumulator, FittedInput
from ml4ir_losses.features.input_encoder import IdEncoder
from ml4ir_losses.features.strings import distinct_counts, encode_distinct
from ml4ir_losses.text.words import most_common, tokenize


class TextAccumulator(Accumulator):
    """Counts the words."""

    config: TextInput

    def update(self, table: Table, sample: Array | None) -> None:
        for text, number in distinct_counts(table.strings(self.columns[0])):
            for word in tokenize(text):
                self.counts[word] += number

    def result(self) -> FittedText:
        return FittedText(
            name=self.config.name,
            scope=self.config.scope,
            columns=self.columns,
            vocabulary=most_common(self.counts, self.config.max_vocabulary),
            max_length=self.config.max_length,
            embedding_dim=self.config.embedding_dim,
        )


class FittedText(FittedInput):
    """The first words of a text by their place in the vocabulary: from 2, 1 for unknown words, 0 for padding."""

    type: Literal["text"] = "text"
    vocabulary: list[str] = []
    max_length: int = 32
    embedding_dim: int = 16

    def encode(self, table: Table) -> Array:
        return encode_distinct(table.strings(self.columns[0]), self.ids)

    def ids(self, values: Sequence[str]) -> Array:
        """Ids of words, [values, max_length]."""
        index = {value: i for i, value in enumerate(self.vocabulary)}
        ids = np.zeros((len(values), self.max_length), dtype="int32")
        for row, text in enumerate(values):
            words = [index.get(word, -1) + 2 for word in tokenize(text)[: self.max_length]]
            ids[row, : len(words)] = words
        return ids

    def lookup(self) -> Any:
        """The layer that gives the same ids inside a model."""
        return keras.layers.TextVectorization(
            vocabulary=self.vocabulary or ["[none]"], output_sequence_length=self.max_length
        )

    def empty(self, shape: tuple[int, ...]) -> Array:
        return np.zeros((*shape, self.max_length), "int32")

    def encoder(self, name: str, dtype: Any) -> TextEncoder:
        return TextEncoder(self, name=name, dtype=dtype)


@keras.saving.register_keras_serializable("ml4ir_losses")
class TextEncoder(IdEncoder):
    """Mean embedding of the words of a text; 0 for a text without words."""

    def __init__(self, fitted: FittedText | Mapping[str, Any], **kwargs: Any) -> None:
        fitted = FittedText.model_validate(fitted)
        super().__init__(fitted, max(len(fitted.vocabulary), 1) + 2, fitted.lookup, **kwargs)

    def look_up(self, x: Tensor) -> Tensor:
        shape = ops.shape(x)
        return ops.reshape(self.lookup(ops.reshape(x, (-1,))), (*shape, self.fitted.max_length))

    def embed(self, raw: Tensor) -> Tensor:
        embedded = self.embedding(raw)
        known = ops.cast(ops.not_equal(raw, 0), embedded.dtype)[..., None]
        return ops.sum(embedded * known, axis=-2) / ops.maximum(ops.sum(known, axis=-2), 1.0)
