"""A bi-encoder without weights that sums word vectors, and a cross-encoder that counts shared words."""

import zlib
from functools import cache

import numpy as np


@cache
def word_vector(word, width):
    """The random vector of a word, the same in every process."""
    return np.random.default_rng(zlib.crc32(word.encode())).normal(size=width)


class WordModel:
    """A bi-encoder of random word vectors; records (column, number of texts) of each call."""

    def __init__(self, width=16, change=None):
        self.width, self.change, self.calls = width, change, []

    def encode(self, texts, column="anchor", batch_size=256):
        self.calls.append((column, len(texts)))
        vectors = np.array(
            [sum((word_vector(word, self.width) for word in text.split()), np.zeros(self.width)) for text in texts]
        )
        return (vectors if self.change is None else self.change(vectors)).astype("float32")


class Collapsed(WordModel):
    """The same vector for every text."""

    def __init__(self):
        super().__init__(change=np.ones_like)


class Overlap:
    """A cross-encoder: the number of words that a query and a document share."""

    def score_pairs(self, queries, documents, batch_size=256):
        return np.array([len({*q.split()} & {*d.split()}) for q, d in zip(queries, documents, strict=True)])


def texts(count, seed=0, words=4):
    """Distinct texts of `words` words from a vocabulary of 40."""
    rng = np.random.default_rng(seed)
    return [f"t{i} " + " ".join(f"w{w}" for w in rng.integers(0, 40, words)) for i in range(count)]


def vector_similarity(a, b, similarity):
    """The similarity of two vectors in float64."""
    a, b = np.asarray(a, "float64"), np.asarray(b, "float64")
    if similarity == "euclidean":
        return -np.linalg.norm(a - b)
    if similarity == "manhattan":
        return -np.abs(a - b).sum()
    norms = np.linalg.norm(a) * np.linalg.norm(b) if similarity == "cosine" else 1.0
    return float(a @ b) / norms if norms else 0.0
