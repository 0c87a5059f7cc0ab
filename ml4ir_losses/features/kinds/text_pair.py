"""Inputs of type `text_pair`: the query and the document as one sequence of token ids, which a cross-encoder reads."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import compress
from typing import Any, Literal

import numpy as np
from pydantic import PrivateAttr

from ml4ir_losses.config.inputs import TextPairInput
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.data.feeding import import_tensorflow
from ml4ir_losses.data.streaming.seen import SeenIds
from ml4ir_losses.data.table import Table
from ml4ir_losses.features.fitted import Accumulator, ColumnType, FittedInput
from ml4ir_losses.features.strings import made_up_texts
from ml4ir_losses.text.words import most_common, tokenize


class TextPairAccumulator(Accumulator):
    """Counts the words; a text that occurs in many rows, as a query does, counts once."""

    config: TextPairInput

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.counted = SeenIds()

    def update(self, table: Table, sample: Array | None) -> None:
        if self.config.preset:
            return
        for column in pair_texts(self.columns, table):
            texts = list(dict.fromkeys(column))
            for text in compress(texts, ~self.counted.add(texts)):
                self.counts.update(tokenize(text))

    def result(self) -> FittedTextPair:
        return FittedTextPair(
            name=self.config.name,
            columns=self.columns,
            vocabulary=most_common(self.counts, self.config.max_vocabulary),
            max_length=self.config.max_length,
            max_query_length=self.config.query_length,
            preset=self.config.preset,
        )


class FittedTextPair(FittedInput):
    """A text pair: the column of the query, then those of the document, and its tokenizer."""

    type: Literal["text_pair"] = "text_pair"
    vocabulary: list[str] = []
    max_length: int = 0
    max_query_length: int = 0
    preset: str | None = None
    _tokenizer: Any = PrivateAttr(None)

    @property
    def has_tokenizer(self) -> bool:
        """True if a tokenizer was set or built."""
        return self._tokenizer is not None

    @property
    def tokenizer(self) -> Any:
        """The `PairTokenizer`: the model's if set, else built from the vocabulary or preset."""
        if self._tokenizer is None:
            self._tokenizer = self._build_tokenizer()
        return self._tokenizer

    @tokenizer.setter
    def tokenizer(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def encode(self, table: Table) -> Array:
        """Token ids [rows, T], as wide as the longest sequence."""
        ids: Array = self.tokenizer.padded(*pair_texts(self.columns, table))
        return ids

    @property
    def column_types(self) -> dict[str, ColumnType]:
        query, *document = self.columns
        return {query: ColumnType("string", scope="query"), **{c: ColumnType("string") for c in document}}

    def from_columns(self, columns: Mapping[str, Tensor]) -> Tensor:
        """Token ids [B, N, T]."""
        tf = import_tensorflow()
        query, *document = (columns[column] for column in self.columns)
        texts = tf.strings.join(document, " ")
        lists, documents = tf.unstack(tf.shape(texts))
        ids = self.tokenizer(tf.repeat(query, documents), tf.reshape(texts, [-1]))
        return tf.reshape(ids, [lists, documents, tf.shape(ids)[1]])

    def made_up(self, rows: int, rng: np.random.Generator) -> dict[str, Any]:
        words = max(self.max_length, 3)
        return {column: made_up_texts(self.tokenizer.tokenizer.words, rows, words, rng) for column in self.columns}

    def empty(self, shape: tuple[int, ...]) -> Array:
        """A text of two unknown words."""
        return np.ones((*shape, 2), "int32")

    def _build_tokenizer(self) -> Any:
        from ml4ir_losses.text.tokenizers import PairTokenizer, WordTokenizer

        if self.preset is None:
            words: Any = WordTokenizer(self.vocabulary, self.max_length)
        else:
            from ml4ir_losses.text.hub_tokenizer import HubTokenizer

            words = HubTokenizer.from_preset(self.preset, self.max_length)
            words.max_length += sum(map(len, words.bounds))
        return PairTokenizer(words, self.max_length, self.max_query_length)


def pair_texts(columns: list[str], table: Table) -> tuple[list[str], list[str]]:
    """Query and document of every row; the columns of the document are joined by a space."""
    query, *document = (table.strings(column) for column in columns)
    return list(query), [" ".join(cells) for cells in zip(*document, strict=True)]
