"""Inputs of type `text`: the mean embedding of a text's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from ml4ir_losses.config.category_inputs import TextInput
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.data.table import Table
from ml4ir_losses.features.fitted import Accumulator, FittedInput
from ml4ir_losses.features.hashing import hashed_ngrams, ngram_buckets
from ml4ir_losses.features.input_encoder import IdEncoder
from ml4ir_losses.features.strings import distinct_counts, encode_distinct, made_up_texts
from ml4ir_losses.text.words import most_common, tokenize


class TextAccumulator(Accumulator):
    """Counts the words."""

    config: TextInput

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.longest = 1

    def update(self, table: Table, sample: Array | None) -> None:
        for text, number in distinct_counts(table.strings(self.columns[0])):
            words = tokenize(text)
            for word in words:
                self.counts[word] += number
            self.longest = max(self.longest, self._ngrams(words[: self.config.max_length]))

    def _ngrams(self, words: Sequence[str]) -> int:
        """The number of n-grams of words that are put between < and >."""
        if self.config.ngrams is None:
            return 0
        low, high = self.config.ngrams
        return sum(max(0, len(word) + 3 - n) for word in words for n in range(low, high + 1))

    def result(self) -> FittedText:
        config = self.config
        return FittedText(
            name=config.name,
            scope=config.scope,
            columns=self.columns,
            vocabulary=most_common(self.counts, config.max_vocabulary, config.min_count),
            max_length=config.max_length,
            embedding_dim=config.embedding_dim,
            ngrams=config.ngrams,
            num_buckets=config.num_buckets if config.ngrams else 0,
            max_ngrams=min(self.longest, config.max_ngrams) if config.ngrams else 0,
        )


class FittedText(FittedInput):
    """The first words of a text by their place in the vocabulary: from 2, 1 for unknown words, 0 for padding.

    With `ngrams` the buckets of the words' character n-grams follow, and an unknown word is its n-grams alone.
    """

    type: Literal["text"] = "text"
    vocabulary: list[str] = []
    max_length: int = 32
    embedding_dim: int = 16
    ngrams: tuple[int, int] | None = None
    num_buckets: int = 0
    max_ngrams: int = 0

    @property
    def words(self) -> int:
        """The number of embeddings of words, with those of padding and unknown words."""
        return max(len(self.vocabulary), 1) + 2

    @cached_property
    def index(self) -> dict[str, int]:
        """The id of each word of the vocabulary."""
        return {value: i for i, value in enumerate(self.vocabulary, 2)}

    def encode(self, table: Table) -> Array:
        return encode_distinct(table.strings(self.columns[0]), self.ids)

    def ids(self, values: Sequence[str]) -> Array:
        """Ids of words and n-grams, [values, max_length + max_ngrams]."""
        index = self.index
        ids = np.zeros((len(values), self.max_length), dtype="int32")
        unknown = 1 if self.ngrams is None else 0
        for row, text in enumerate(values):
            words = [index.get(word, unknown) for word in tokenize(text)[: self.max_length]]
            ids[row, : len(words)] = words
        if self.ngrams is None:
            return ids
        grams = hashed_ngrams(values, self.ngrams, self.max_length, self.max_ngrams, self.num_buckets)
        return np.concatenate([ids, np.where(grams > 0, grams + self.words - 1, 0)], axis=1)

    def lookup(self) -> Any:
        """The layer that gives the same ids inside a model."""
        return keras.layers.TextVectorization(
            vocabulary=self.vocabulary or ["[none]"], output_sequence_length=self.max_length
        )

    def made_up(self, rows: int, rng: np.random.Generator) -> dict[str, Any]:
        return {self.columns[0]: made_up_texts(self.vocabulary, rows, self.max_length + 2, rng)}

    def empty(self, shape: tuple[int, ...]) -> Array:
        return np.zeros((*shape, self.max_length + self.max_ngrams), "int32")

    def encoder(self, name: str, dtype: Any) -> TextEncoder:
        return TextEncoder(self, name=name, dtype=dtype)


@keras.saving.register_keras_serializable("ml4ir_losses")
class TextEncoder(IdEncoder):
    """Mean embedding of the words of a text, and of their n-grams; 0 for a text without words."""

    def __init__(self, fitted: FittedText | Mapping[str, Any], **kwargs: Any) -> None:
        fitted = FittedText.model_validate(fitted)
        super().__init__(fitted, fitted.words + fitted.num_buckets, fitted.lookup, **kwargs)

    def look_up(self, x: Tensor) -> Tensor:
        fitted, shape = self.fitted, ops.shape(x)
        texts = ops.reshape(x, (-1,))
        ids = self.lookup(texts)
        if fitted.ngrams is not None:
            ids = ops.where(ids == 1, 0, ids)
            sizes = fitted.ngrams, fitted.max_length, fitted.max_ngrams, fitted.num_buckets
            grams = ngram_buckets(texts, *sizes)
            ids = ops.concatenate([ids, ops.where(grams > 0, grams + (fitted.words - 1), 0)], axis=1)
        return ops.reshape(ids, (*shape, fitted.max_length + fitted.max_ngrams))

    def embed(self, raw: Tensor) -> Tensor:
        embedded = self.embedding(raw)
        known = ops.expand_dims(ops.cast(ops.not_equal(raw, 0), embedded.dtype), -1)
        return ops.sum(embedded * known, axis=-2) / ops.maximum(ops.sum(known, axis=-2), 1.0)
