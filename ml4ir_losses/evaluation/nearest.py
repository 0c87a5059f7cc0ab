"""Exact nearest neighbours by blocks, and hard negatives among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ml4ir_losses.errors import UserError, check_choice, check_count, check_number

Array = np.ndarray[Any, Any]
BLOCK = 4096  # rows of the corpus at a time

SIMILARITIES = ("cosine", "dot", "euclidean")


def top_k(queries: Array, corpus: Array, k: int, similarity: str = "cosine", block: int = BLOCK) -> tuple[Array, Array]:
    """The k most similar rows of the corpus for every query: similarities and row numbers, both [Q, k], best first.

    Exact; of equals the first row comes first. Memory is Q·(k + `block`) beside the embeddings.

    Args:
        queries: [Q, D].
        corpus: [M, D]; where M is below k, the results have M columns.
        k: at least 1.
        similarity: `cosine` (0 with a zero vector), `dot`, or `euclidean` (the negative distance).
        block: rows of the corpus at a time.

    Raises:
        ValueError: for embeddings of different widths, and values that are not allowed.
    """
    check_count(k=k, block=block)
    check_choice(SIMILARITIES, similarity=similarity)
    queries, corpus = np.asarray(queries, dtype="float32"), np.asarray(corpus, dtype="float32")
    if queries.ndim != 2 or corpus.ndim != 2 or queries.shape[1] != corpus.shape[1]:
        raise UserError(
            f"`queries` and `corpus` must be embeddings of one width, [Q, D] and [M, D]. Received: "
            f"{list(queries.shape)} and {list(corpus.shape)}."
        )
    if similarity == "cosine":
        queries, corpus = unit(queries), unit(corpus)
    best = np.empty((len(queries), 0), dtype="float32")
    rows = np.empty((len(queries), 0), dtype="int64")
    for start in range(0, len(corpus), block):
        part = corpus[start : start + block]
        found = np.broadcast_to(np.arange(start, start + len(part)), (len(queries), len(part)))
        best = np.concatenate([best, compare(queries, part, similarity)], axis=1)
        rows = np.concatenate([rows, found], axis=1)
        if best.shape[1] > k:
            keep = _first_k(best, k)
            best, rows = np.take_along_axis(best, keep, axis=1), np.take_along_axis(rows, keep, axis=1)
    order = np.argsort(-best, axis=1, kind="stable")
    return np.take_along_axis(best, order, axis=1), np.take_along_axis(rows, order, axis=1)


def compare(queries: Array, corpus: Array, similarity: str) -> Array:
    """The similarity of every query with every row, [Q, M]; for `cosine` of unit vectors."""
    if similarity != "euclidean":
        dots: Array = queries @ corpus.T
        return dots
    centre = corpus.mean(axis=0, dtype="float64").astype("float32")
    queries, corpus = queries - centre, corpus - centre
    squares = (queries**2).sum(1)[:, None] + (corpus**2).sum(1)[None, :]
    distances: Array = np.sqrt(np.maximum(squares - 2.0 * queries @ corpus.T, 0.0))
    return -distances


def unit(x: Array) -> Array:
    """Rows of length 1; a zero row stays 0."""
    length = np.linalg.norm(x.astype("float64"), axis=-1, keepdims=True)
    shorter: Array = np.divide(x, length, out=np.zeros_like(x), where=length > 0)
    return shorter


def _first_k(scores: Array, k: int) -> Array:
    """The columns of the k highest of each row, in the order of the columns; of equals the first ones."""
    least = -np.partition(-scores, k - 1, axis=1)[:, k - 1 : k]
    above, level = scores > least, scores == least
    room = k - above.sum(axis=1, keepdims=True)
    chosen = above | (level & (np.cumsum(level, axis=1) <= room))
    return np.nonzero(chosen)[1].reshape(len(scores), k)


def hard_negatives(
    anchors: Array,
    positives: Array,
    corpus: Array,
    known: Sequence[Sequence[int]],
    *,
    num_negatives: int = 3,
    range_min: int = 0,
    range_max: int | None = None,
    max_score: float | None = None,
    relative_margin: float | None = None,
    similarity: str = "cosine",
    sampling: Callable[[Array, int], Array] | None = None,
) -> Array:
    """Rows of the corpus that are close to an anchor and not known to belong to it, [A, num_negatives]; -1: none left.

    Args:
        anchors: [A, D].
        positives: [A, D], the anchors' positives.
        corpus: [M, D].
        known: for every anchor the rows of the corpus that are no negatives.
        num_negatives: how many for each anchor, the most similar first.
        range_min: so many of the most similar rows are left out.
        range_max: only so many of the most similar rows are looked at; None: as many as are needed for
            `num_negatives` where nothing else rules one out, ten times that where something may.
        max_score: rows more similar to the anchor are left out.
        relative_margin: rows more similar than (1 - this) times the positive's similarity are left out.
        similarity: as in `top_k`.
        sampling: another choice among the rows that are left, `fn(rows, count) -> rows`; None: the most similar.

    Raises:
        ValueError: for values that are not allowed.
    """
    check_count(num_negatives=num_negatives, range_max=range_max)
    if isinstance(range_min, bool) or not isinstance(range_min, int) or range_min < 0:
        raise UserError(f"`range_min` must be a whole number of at least 0. Received: range_min={range_min!r}.")
    for name, value in (("max_score", max_score), ("relative_margin", relative_margin)):
        if value is not None:
            check_number(**{name: value})
    if range_max is not None and range_max <= range_min:
        raise UserError(f"`range_max` must be above range_min={range_min}. Received: range_max={range_max!r}.")
    spare = max((len(rows) for rows in known), default=0)
    rules = max_score is not None or relative_margin is not None or sampling is not None
    depth = range_max if range_max is not None else range_min + num_negatives * (10 if rules else 1)
    scores, rows = top_k(anchors, corpus, depth + spare, similarity)
    own = np.array([compare(a[None], p[None], similarity)[0, 0] for a, p in _paired(anchors, positives, similarity)])
    limit = np.full(len(scores), np.inf)
    if max_score is not None:
        limit = np.minimum(limit, max_score)
    if relative_margin is not None:
        limit = np.minimum(limit, own - np.abs(own) * relative_margin)
    found = np.full((len(scores), num_negatives), -1, dtype="int64")
    for anchor, (row_scores, row) in enumerate(zip(scores, rows, strict=True)):
        unknown = ~np.isin(row, np.asarray(list(known[anchor]), dtype="int64"))
        ranked = np.flatnonzero(unknown)[range_min:depth]
        left = row[ranked[row_scores[ranked] <= limit[anchor]]]
        chosen = left[:num_negatives] if sampling is None else sampling(left, num_negatives)
        found[anchor, : len(chosen)] = chosen
    return found


def _paired(anchors: Array, positives: Array, similarity: str) -> Any:
    anchors, positives = np.asarray(anchors, dtype="float32"), np.asarray(positives, dtype="float32")
    if similarity == "cosine":
        anchors, positives = unit(anchors), unit(positives)
    return zip(anchors, positives, strict=True)
