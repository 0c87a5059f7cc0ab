"""Tokenizers: texts to ids, with 0 as padding; in NumPy for training data, in the TensorFlow graph for serving."""

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
        """The start and end tokens of every text, numbered as in the preset, which `ids` shifts by one."""
        return [], []

    @property
    def words(self) -> list[str]:
        """Words that have an id."""
        raise NotImplementedError

    def ids(self, text: str) -> list[int]:
        """The ids of one text, without padding."""
        raise NotImplementedError

    def padded(self, texts: Sequence[str]) -> Array:
        """The ids of several texts, [N, T], as wide as the longest."""
        return pad_rows([np.array(self.ids(text), dtype="int32") for text in texts])


def pad_rows(rows: Sequence[Array], min_width: int = 1) -> Array:
    """Rows of ids in one array [N, T], padded with 0; T is at least `min_width`."""
    width = max([min_width, *map(len, rows)])
    padded = np.zeros((len(rows), width), dtype="int32")
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
    return padded


class _WordBreaks(dict[int, str]):
    """A table for `str.translate`: a space for characters that end a word, other characters unchanged.

    Words end at punctuation, symbols, separators and control characters; a variation selector belongs to a symbol.
    """

    def __missing__(self, number: int) -> str:
        character = chr(number)
        category = unicodedata.category(character)
        ends_word = category[0] in "PSZ" or category in ("Cc", "Cf") or 0xFE00 <= number <= 0xFE0F
        self[number] = " " if ends_word else character
        return self[number]


_WORD_BREAKS, _WORD_BREAK_PATTERN = _WordBreaks(), r"[\p{P}\p{S}\p{Z}\p{Cc}\p{Cf}\x{FE00}-\x{FE0F}]"


def split_words(text: str, punctuation: str = "strip", prefix_length: int | None = None) -> list[str]:
    """The words of a text, lower-cased."""
    words = tokenize(text) if punctuation == "strip" else text.translate(_WORD_BREAKS).lower().split()
    return words if prefix_length is None else [word[:prefix_length] for word in words]


def split_strings(texts: Tensor, punctuation: str = "strip", prefix_length: int | None = None) -> Any:
    """`split_words` for a TensorFlow tensor of strings [N]: a ragged tensor [N, T]."""
    import tensorflow as tf

    if punctuation == "strip":
        texts = tf.strings.regex_replace(tf.strings.lower(texts), f"[{re.escape(string.punctuation)}]", "")
    else:
        texts = tf.strings.lower(tf.strings.regex_replace(texts, _WORD_BREAK_PATTERN, " "), encoding="utf-8")
    words = tf.strings.split(texts)
    if prefix_length is None:
        return words
    return tf.ragged.map_flat_values(tf.strings.substr, words, 0, prefix_length, unit="UTF8_CHAR")


@keras.saving.register_keras_serializable("ml4ir_losses")
class WordTokenizer(Tokenizer):
    """Splits texts into lower-case words without punctuation; words outside the vocabulary have the id 1.

    Args:
        vocabulary: the words, whose ids start at 2.
        max_length: maximum number of words of a text.
        punctuation: `strip` removes ASCII punctuation, so that "boundary-layer" is one word, and lower-cases ASCII
            letters, like Keras' `TextVectorization`; `split` ends words at punctuation and symbols of any script.
        prefix_length: number of leading letters of each word to keep, a cheap stemmer; None: all.

    Raises:
        UserError: for an unknown `punctuation`, or a `prefix_length` below 1.
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
        self.split_options: dict[str, Any] = {"punctuation": punctuation, "prefix_length": prefix_length}
        self.word_ids = {word: i for i, word in enumerate(self.vocabulary, start=2)}
        self.lookup: Any = None
        if keras.backend.backend() == "tensorflow":
            self.lookup = layers.TextVectorization(
                standardize=None,
                split=partial(split_strings, **self.split_options),
                vocabulary=self.vocabulary or ["[none]"],
            )
        self.built = True

    @classmethod
    def fit(
        cls, texts: Iterable[str], max_vocabulary: int, max_length: int, *, min_count: int = 1, **split_options: Any
    ) -> WordTokenizer:
        """A tokenizer of the most frequent words of the texts, among those that occur in at least `min_count` texts."""
        counts: Counter[str] = Counter()
        in_texts: Counter[str] = Counter()
        for text in texts:
            words = Counter(split_words(text, **split_options))
            counts.update(words)
            in_texts.update(words.keys())
        frequent = Counter({word: count for word, count in counts.items() if in_texts[word] >= min_count})
        return cls(most_common(frequent, max_vocabulary), max_length, **split_options)

    @property
    def vocabulary_size(self) -> int:
        return len(self.vocabulary) + 2

    @property
    def words(self) -> list[str]:
        return self.vocabulary

    def ids(self, text: str) -> list[int]:
        return [self.word_ids.get(word, 1) for word in split_words(text, **self.split_options)[: self.max_length]]

    def call(self, texts: Tensor) -> Tensor:
        return self.lookup(texts)[:, : self.max_length]

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "vocabulary": self.vocabulary, "max_length": self.max_length}
        return {**config, **self.split_options}


@keras.saving.register_keras_serializable("ml4ir_losses")
class PairTokenizer(layers.Layer):  # type: ignore[misc]
    """Encodes queries [N] and documents [N] as ids [N, T] of query, separator and document; 0 is padding.

    If the tokenizer has an end token, that is the separator, and the sequence has the tokenizer's start and end tokens;
    else the separator is the id after the vocabulary, and the sequence has no start and end token.

    Args:
        tokenizer: the tokenizer of both texts, with room for `max_length` tokens and its start and end tokens.
        max_length: maximum number of tokens of the sequence; longer documents are cut.
        max_query_length: maximum number of tokens of the query.

    Raises:
        UserError: if there is no room for a token of a document.
    """

    def __init__(self, tokenizer: Tokenizer | dict[str, Any], max_length: int, max_query_length: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.tokenizer: Any = (
            keras.saving.deserialize_keras_object(tokenizer) if isinstance(tokenizer, dict) else tokenizer
        )
        self.max_length, self.max_query_length = max_length, max_query_length
        self._convert_input_args = False  # strings are TensorFlow's on every backend
        special = sum(map(len, self.tokenizer.bounds)) + max(1, len(self.tokenizer.bounds[1]))
        if max_query_length + special >= max_length:
            raise UserError(
                f"`max_query_length` must be at most {max_length - special - 1}: {special} of max_length={max_length} "
                f"tokens are start, separator and end. Received: max_query_length={max_query_length}."
            )
        self.built = True

    @property
    def vocabulary_size(self) -> int:
        """One more than the highest id."""
        return int(self.tokenizer.vocabulary_size) + (not self.tokenizer.bounds[1])

    @property
    def frame(self) -> tuple[list[int], list[int], list[int]]:
        """The ids before the query, between query and document, and after the document."""
        empty_text, starts = self.tokenizer.ids(""), len(self.tokenizer.bounds[0])
        end = empty_text[starts:]
        return empty_text[:starts], end or [self.tokenizer.vocabulary_size], end

    def ids(self, query: str, document: str) -> list[int]:
        """The ids of one pair, without padding."""
        row: list[int] = self.padded([query], [document])[0].tolist()
        return row

    def padded(self, queries: Sequence[str], documents: Sequence[str]) -> Array:
        """The ids of several pairs, [N, T], as wide as the longest; equal texts are tokenized once."""
        words = self.words([*queries, *documents])
        return self.join(words[: len(queries)], words[len(queries) :])

    def words(self, texts: Sequence[str]) -> list[Array]:
        """The ids of each text without start and end tokens, not truncated to its part of a pair."""
        start, _, end = self.frame
        distinct = list(dict.fromkeys(texts))
        rows = self.tokenizer.padded(distinct) if distinct else []
        ids = {t: row[len(start) : np.count_nonzero(row) - len(end)] for t, row in zip(distinct, rows, strict=True)}
        return [ids[text] for text in texts]

    def lengths(self, queries: Array, documents: Array) -> Array:
        """The numbers of ids of pairs, [N], given those of the `words` of their texts."""
        start, separator, end = self.frame
        frame = len(start) + len(separator) + len(end)
        queries = np.minimum(queries, self.max_query_length)
        pairs: Array = frame + queries + np.minimum(documents, self.max_length - frame - queries)
        return pairs

    def join(self, queries: Sequence[Array], documents: Sequence[Array]) -> Array:
        """The ids of pairs of `words`, [N, T], as wide as the longest pair."""
        start, separator, end = self.frame
        room = self.max_length - len(start) - len(separator) - len(end)
        pairs = []
        for query, document in zip(queries, documents, strict=True):
            query = query[: self.max_query_length]
            pairs.append(np.concatenate([start, query, separator, document[: room - len(query)], end]))
        return pad_rows([pair.astype("int32") for pair in pairs])

    def call(self, queries: Tensor, documents: Tensor) -> Tensor:
        import tensorflow as tf

        start, separator, end = self.frame

        def words(texts: Any, max_words: Any) -> tuple[Any, Any]:
            ids = tf.cast(self.tokenizer(texts), tf.int32)
            count = tf.math.count_nonzero(ids, axis=1, dtype=tf.int32) - len(start) - len(end)
            count = tf.minimum(count, max_words)
            return tf.RaggedTensor.from_tensor(ids[:, len(start) :], lengths=count), count

        def repeated(ids: list[int]) -> Any:
            return tf.tile(tf.constant([ids], tf.int32, shape=(1, len(ids))), [tf.shape(queries)[0], 1])

        query_ids, count = words(queries, self.max_query_length)
        room = self.max_length - len(start) - len(separator) - len(end)
        document_ids, _ = words(documents, room - count)
        return tf.concat(
            [repeated(start), query_ids, repeated(separator), document_ids, repeated(end)], axis=1
        ).to_tensor()

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "tokenizer": keras.saving.serialize_keras_object(self.tokenizer),
            "max_length": self.max_length,
            "max_query_length": self.max_query_length,
        }
