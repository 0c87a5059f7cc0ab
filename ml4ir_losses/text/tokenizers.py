"""Tokenizers: texts to ids, 0 being padding; in the model for serving, in NumPy for the training data."""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import layers

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import UserError, check_choice, check_count
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.text.words import most_common, tokenize


class Tokenizer(layers.Layer):  # type: ignore[misc]
    """Strings [N] to ids [N, T] of at most `max_length` tokens; 0 is padding.

    `ids` works in NumPy on every backend, the call on a tensor of strings inside a TensorFlow graph; both give the
    same ids.
    """

    max_length: int

    @property
    def vocabulary_size(self) -> int:
        """One more than the highest id."""
        raise NotImplementedError

    @property
    def bounds(self) -> tuple[list[int], list[int]]:
        """The start and end tokens of every text, as the tokenizer's own ids."""
        return [], []

    def ids(self, text: str) -> list[int]:
        """The ids of one text, without padding."""
        raise NotImplementedError

    def padded(self, texts: Sequence[str]) -> Array:
        """The ids of several texts, [N, T], as wide as the longest."""
        return pad_rows([np.array(self.ids(text), dtype="int32") for text in texts])


def pad_rows(rows: Sequence[Array], least: int = 1) -> Array:
    """Rows of ids in one array [N, T], filled up with 0."""
    width = max([least, *map(len, rows)])
    padded = np.zeros((len(rows), width), dtype="int32")
    for place, row in enumerate(rows):
        padded[place, : len(row)] = row
    return padded


class _Breaks(dict[int, str]):
    """Characters by number as `str.translate` reads them: a space where words end, else as they are.

    Words end at punctuation, symbols, separators and control characters; a variation selector belongs to a symbol.
    """

    def __missing__(self, number: int) -> str:
        letter = chr(number)
        kind = unicodedata.category(letter)
        ends = kind[0] in "PSZ" or kind in ("Cc", "Cf") or 0xFE00 <= number <= 0xFE0F
        self[number] = " " if ends else letter
        return self[number]


_BREAKS, _BREAK = _Breaks(), r"[\p{P}\p{S}\p{Z}\p{Cc}\p{Cf}\x{FE00}-\x{FE0F}]"


def split_words(text: str, punctuation: str = "strip", prefix_length: int | None = None) -> list[str]:
    """The words of a text, lower-cased."""
    words = tokenize(text) if punctuation == "strip" else text.translate(_BREAKS).lower().split()
    return words if prefix_length is None else [word[:prefix_length] for word in words]


def split_strings(texts: Tensor, punctuation: str = "strip", prefix_length: int | None = None) -> Any:
    """`split_words` of a TensorFlow tensor of strings [N], as a ragged tensor [N, T]."""
    import tensorflow as tf

    if punctuation == "strip":
        texts = tf.strings.regex_replace(tf.strings.lower(texts), f"[{re.escape(string.punctuation)}]", "")
    else:
        texts = tf.strings.lower(tf.strings.regex_replace(texts, _BREAK, " "), encoding="utf-8")
    words = tf.strings.split(texts)
    if prefix_length is None:
        return words
    return tf.ragged.map_flat_values(tf.strings.substr, words, 0, prefix_length, unit="UTF8_CHAR")


@keras.saving.register_keras_serializable("ml4ir_losses")
class WordTokenizer(Tokenizer):
    """Words, lower-cased and without punctuation; 1 stands for words that are not in the vocabulary.

    Args:
        vocabulary: the words, whose ids start at 2.
        max_length: how many words of a text are read.
        punctuation: `strip` leaves ASCII punctuation out, "boundary-layer" being one word, and lower-cases ASCII
            letters, as Keras' `TextVectorization` does; `split` ends words at punctuation and symbols of any script.
        prefix_length: how many letters of each word are read, a cheap stemmer; None: all.

    Raises:
        UserError: for another `punctuation`, and a `prefix_length` below 1.
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        max_length: int,
        punctuation: str = "strip",
        prefix_length: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_choice(("strip", "split"), punctuation=punctuation)
        check_count(prefix_length=prefix_length)
        self.vocabulary, self.max_length = list(vocabulary), max_length
        self.reading: dict[str, Any] = {"punctuation": punctuation, "prefix_length": prefix_length}
        self.numbers = {word: number for number, word in enumerate(self.vocabulary, start=2)}
        self.lookup: Any = None
        if keras.backend.backend() == "tensorflow":
            self.lookup = layers.TextVectorization(
                standardize=None, split=partial(split_strings, **self.reading), vocabulary=self.vocabulary or ["[none]"]
            )
        self.built = True

    @classmethod
    def fit(
        cls, texts: Iterable[str], max_vocabulary: int, max_length: int, *, min_count: int = 1, **reading: Any
    ) -> WordTokenizer:
        """A tokenizer of the most frequent words of some texts, of those that occur in at least `min_count` texts."""
        counts: Counter[str] = Counter()
        in_texts: Counter[str] = Counter()
        for text in texts:
            words = Counter(split_words(text, **reading))
            counts.update(words)
            in_texts.update(words.keys())
        kept = Counter({word: count for word, count in counts.items() if in_texts[word] >= min_count})
        return cls(most_common(kept, max_vocabulary), max_length, **reading)

    @property
    def vocabulary_size(self) -> int:
        return len(self.vocabulary) + 2

    def ids(self, text: str) -> list[int]:
        return [self.numbers.get(word, 1) for word in split_words(text, **self.reading)[: self.max_length]]

    def call(self, texts: Tensor) -> Tensor:
        return self.lookup(texts)[:, : self.max_length]

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "vocabulary": self.vocabulary, "max_length": self.max_length}
        return {**config, **self.reading}


@keras.saving.register_keras_serializable("ml4ir_losses")
class PairTokenizer(layers.Layer):  # type: ignore[misc]
    """Queries [N] and documents [N] to ids [N, T] of one sequence each: query, separator, document; 0 is padding.

    Where the tokenizer ends a text with a token of its own, that is the separator, and the sequence starts and ends
    as its texts do; else the separator is the id behind the vocabulary, and nothing stands around the sequence.

    Args:
        tokenizer: of both; it reads as many tokens of a text as `max_length` and its own start and end.
        max_length: tokens of a sequence; the document is cut.
        max_query_length: tokens of the query.

    Raises:
        UserError: where no token of a document would be read.
    """

    def __init__(self, tokenizer: Tokenizer | dict[str, Any], max_length: int, max_query_length: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.tokenizer: Any = (
            keras.saving.deserialize_keras_object(tokenizer) if isinstance(tokenizer, dict) else tokenizer
        )
        self.max_length, self.max_query_length = max_length, max_query_length
        self._convert_input_args = False  # strings are TensorFlow's on every backend
        around = sum(map(len, self.tokenizer.bounds)) + max(1, len(self.tokenizer.bounds[1]))
        if max_query_length + around >= max_length:
            raise UserError(
                f"`max_query_length` must be at most {max_length - around - 1}: {around} of max_length={max_length} "
                f"tokens stand around the texts. Received: max_query_length={max_query_length}."
            )
        self.built = True

    @property
    def vocabulary_size(self) -> int:
        """One more than the highest id."""
        return int(self.tokenizer.vocabulary_size) + (not self.tokenizer.bounds[1])

    @property
    def frame(self) -> tuple[list[int], list[int], list[int]]:
        """The ids before the query, between query and document, and behind the document."""
        around, starts = self.tokenizer.ids(""), len(self.tokenizer.bounds[0])
        end = around[starts:]
        return around[:starts], end or [self.tokenizer.vocabulary_size], end

    def ids(self, query: str, document: str) -> list[int]:
        """The ids of one pair, without padding."""
        row: list[int] = self.padded([query], [document])[0].tolist()
        return row

    def padded(self, queries: Sequence[str], documents: Sequence[str]) -> Array:
        """The ids of several pairs, [N, T], as wide as the longest; equal texts are read once."""
        start, separator, end = self.frame
        texts = list(dict.fromkeys([*queries, *documents]))
        rows = self.tokenizer.padded(texts) if texts else []
        words = {
            text: row[len(start) : np.count_nonzero(row) - len(end)] for text, row in zip(texts, rows, strict=True)
        }
        room = self.max_length - len(start) - len(separator) - len(end)
        pairs = []
        for query, document in zip(queries, documents, strict=True):
            query_ids = words[query][: self.max_query_length]
            pairs.append(np.concatenate([start, query_ids, separator, words[document][: room - len(query_ids)], end]))
        return pad_rows([pair.astype("int32") for pair in pairs])

    def call(self, queries: Tensor, documents: Tensor) -> Tensor:
        import tensorflow as tf

        start, separator, end = self.frame

        def words(texts: Any, most: Any) -> tuple[Any, Any]:
            ids = tf.cast(self.tokenizer(texts), tf.int32)
            count = tf.math.count_nonzero(ids, axis=1, dtype=tf.int32) - len(start) - len(end)
            count = tf.minimum(count, most)
            return tf.RaggedTensor.from_tensor(ids[:, len(start) :], lengths=count), count

        def each(ids: list[int]) -> Any:
            return tf.tile(tf.constant([ids], tf.int32, shape=(1, len(ids))), [tf.shape(queries)[0], 1])

        query_ids, count = words(queries, self.max_query_length)
        room = self.max_length - len(start) - len(separator) - len(end)
        document_ids, _ = words(documents, room - count)
        return tf.concat([each(start), query_ids, each(separator), document_ids, each(end)], axis=1).to_tensor()

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "tokenizer": keras.saving.serialize_keras_object(self.tokenizer),
            "max_length": self.max_length,
            "max_query_length": self.max_query_length,
        }
