"""Buckets of strings by their hash, the same on every backend, in every process and inside a saved model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.data.feeding import import_tensorflow

PUNCTUATION = r"[!\"#$%&()\*\+,\-\./:;<=>?@\[\\\]^_`{|}~']"  # as text.words leaves out
_TEXTS = 10_000  # whose n-grams are computed at once


def buckets(strings: Any, number: int) -> Any:
    """The bucket of each string, 0 to `number` - 1, of a TensorFlow tensor of any shape (FarmHash, 64 bits)."""
    return import_tensorflow().strings.to_hash_bucket_fast(strings, number)


def hashed(values: Sequence[str], number: int) -> Array:
    """The bucket of each string, as `buckets` gives it."""
    if not len(values):
        return np.zeros(0, "int32")
    tf = import_tensorflow()
    with tf.device("CPU"):
        return np.asarray(buckets(tf.constant(list(values)), number)).astype("int32")


def ngram_buckets(texts: Any, sizes: Sequence[int], words: int, width: int, number: int) -> Any:
    """Buckets, from 1, of the character n-grams of the first words of texts, [texts, width]; 0 is padding.

    A word is lower-cased, without punctuation, between < and >. Word after word has its shorter n-grams first.

    Args:
        texts: a TensorFlow tensor of strings, [texts].
        sizes: the shortest and the longest n-gram.
        words: the number of words that are read.
        width: the number of n-grams that are read.
        number: the number of buckets.
    """
    tf = import_tensorflow()
    plain = tf.strings.regex_replace(tf.strings.lower(texts), PUNCTUATION, "")
    marked = tf.ragged.map_flat_values(lambda word: "<" + word + ">", tf.strings.split(plain)[:, :words])
    letters = tf.strings.unicode_split(marked, "UTF-8")
    grams = tf.strings.ngrams(letters, list(range(sizes[0], sizes[1] + 1)), separator="").merge_dims(1, 2)
    ids = tf.ragged.map_flat_values(lambda gram: buckets(gram, number) + 1, grams)
    return ids.to_tensor(0, shape=[None, width])


def hashed_ngrams(texts: Sequence[str], sizes: Sequence[int], words: int, width: int, number: int) -> Array:
    """The buckets of `ngram_buckets` of any number of texts, [texts, width]."""
    tf = import_tensorflow()
    parts = [np.zeros((0, width), "int32")]
    with tf.device("CPU"):
        for start in range(0, len(texts), _TEXTS):
            some = tf.constant(list(texts[start : start + _TEXTS]))
            parts.append(np.asarray(ngram_buckets(some, sizes, words, width, number)).astype("int32"))
    return np.concatenate(parts)
