"""Exact nearest neighbours, computed block by block, and hard negatives among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ml4ir_losses.core.arrays import Array, normalize_rows
from ml4ir_losses.core.errors import UserError, check_choice, check_count, check_number, check_whole

BLOCK = 4096  # corpus rows compared at a time
_QUERIES = 1024  # queries compared at a time

SIMILARITIES = ("cosine", "dot", "euclidean")
Search = Callable[[Array, int], tuple[Array, Array]]


def top_k(queries: Array, corpus: Array, k: int, similarity: str = "cosine", block: int = BLOCK) -> tuple[Array, Array]:
    """The k most similar rows of the corpus for every query: similarities and row numbers, both [Q, k], best first.

    Exact; ties are broken by row number. Memory is Q·k plus 1024·`block`, in addition to the embeddings.

    Args:
        queries: [Q, D].
        corpus: [M, D]; if M < k, the results have M columns.
        k: at least 1.
        similarity: `cosine` (0 for a zero vector), `dot`, or `euclidean` (the negative distance).
        block: rows of the corpus at a time.

    Raises:
        ValueError: for embeddings of different widths, or invalid parameters.
    """
    check_whole(1, k=k, block=block)
    check_choice(SIMILARITIES, similarity=similarity)
    queries, corpus = np.asarray(queries, dtype="float32"), np.asarray(corpus, dtype="float32")
    if queries.ndim != 2 or corpus.ndim != 2 or queries.shape[1] != corpus.shape[1]:
        raise UserError(
            f"`queries` and `corpus` must be embeddings of one width, [Q, D] and [M, D]. Received: "
            f"{list(queries.shape)} and {list(corpus.shape)}."
        )
    nearest = Nearest(queries, k, similarity)
    for start in range(0, len(corpus), block):
        nearest.add(corpus[start : start + block])
    return nearest.result()


class Nearest:
    """The k most similar rows of a corpus that is added in parts; rows are numbered in the order they are added.

    Args:
        queries: [Q, D].
        k: number of results per query.
        similarity: as in `top_k`.
    """

    def __init__(self, queries: Array, k: int, similarity: str = "cosine") -> None:
        self.queries = normalize_rows(queries) if similarity == "cosine" else queries
        self.k, self.similarity, self.seen = k, similarity, 0
        self.best = np.empty((len(queries), 0), dtype="float32")
        self.rows = np.empty((len(queries), 0), dtype="int64")

    def add(self, part: Array) -> None:
        """Compares the next rows of the corpus, [P, D]."""
        part = normalize_rows(part) if self.similarity == "cosine" else part
        width = min(self.k, self.best.shape[1] + len(part))
        best, rows = (np.empty((len(self.queries), width), dtype=old.dtype) for old in (self.best, self.rows))
        for start in range(0, len(self.queries), _QUERIES):
            block = slice(start, start + _QUERIES)
            scores, columns = _candidates(compare(self.queries[block], part, self.similarity), self.best[block], self.k)
            scores = np.concatenate([self.best[block], scores], axis=1)
            numbers = np.concatenate([self.rows[block], columns + self.seen], axis=1)
            keep = _first_k(scores, self.k)
            best[block], rows[block] = (
                np.take_along_axis(scores, keep, axis=1),
                np.take_along_axis(numbers, keep, axis=1),
            )
        self.best, self.rows, self.seen = best, rows, self.seen + len(part)

    def result(self) -> tuple[Array, Array]:
        """Similarities and row numbers, [Q, min(k, M)], best first; ties are broken by row number."""
        order = np.argsort(-self.best, axis=1, kind="stable")
        return np.take_along_axis(self.best, order, axis=1), np.take_along_axis(self.rows, order, axis=1)


def compare(queries: Array, corpus: Array, similarity: str) -> Array:
    """The similarity of every query with every corpus row, [Q, M]; `cosine` expects unit vectors."""
    if similarity != "euclidean":
        dots: Array = queries @ corpus.T
        return dots
    centre = corpus.mean(axis=0, dtype="float64").astype("float32")
    queries, corpus = queries - centre, corpus - centre
    squares = (queries**2).sum(1)[:, None] + (corpus**2).sum(1)[None, :]
    distances: Array = np.sqrt(np.maximum(squares - 2.0 * queries @ corpus.T, 0.0))
    return -distances


def compare_rows(a: Array, b: Array, similarity: str) -> Array:
    """Row-wise similarity of two arrays, [N] float64; also supports `manhattan`."""
    blocks = (slice(start, start + BLOCK) for start in range(0, len(a), BLOCK))
    return np.concatenate([np.empty(0), *(_compare_rows(a[rows], b[rows], similarity) for rows in blocks)])


def _compare_rows(a: Array, b: Array, similarity: str) -> Array:
    a, b = a.astype("float64"), b.astype("float64")
    if similarity == "cosine":
        a, b = normalize_rows(a), normalize_rows(b)
    values: Array
    if similarity == "euclidean":
        values = -np.sqrt(((a - b) ** 2).sum(axis=-1))
    elif similarity == "manhattan":
        values = -np.abs(a - b).sum(axis=-1)
    else:
        values = (a * b).sum(axis=-1)
    return values


def _candidates(scores: Array, best: Array, k: int) -> tuple[Array, Array]:
    """Scores that can enter the k highest of `best`, in column order, and their columns; rows are padded with -inf."""
    if best.shape[1] < k:
        columns = _first_k(scores, k)
        return np.take_along_axis(scores, columns, axis=1), columns
    flat = np.flatnonzero(scores > best.min(axis=1, keepdims=True))
    rows = flat // scores.shape[1]
    counts = np.bincount(rows, minlength=len(scores))
    place = np.arange(len(flat)) - np.repeat(np.cumsum(counts) - counts, counts)
    kept = np.full((len(scores), counts.max(initial=0)), -np.inf, dtype=scores.dtype)
    columns = np.zeros(kept.shape, dtype="int64")
    kept[rows, place], columns[rows, place] = scores.ravel()[flat], flat % scores.shape[1]
    return kept, columns


def _first_k(scores: Array, k: int) -> Array:
    """Columns of the k highest scores of each row (all if there are fewer), ascending; ties go to the first."""
    if scores.shape[1] <= k:
        return np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    threshold = -np.partition(-scores, k - 1, axis=1)[:, k - 1 : k]
    above, tied = scores > threshold, scores == threshold
    room = k - above.sum(axis=1, keepdims=True)
    chosen = above | (tied & (np.cumsum(tied, axis=1) <= room))
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
    search: Search | None = None,
) -> Array:
    """Corpus rows that are similar to an anchor and no known positive of it, [A, num_negatives]; -1: none left.

    Args:
        anchors: [A, D].
        positives: [A, D], the positive of each anchor; the least similar one if there are several.
        corpus: [M, D].
        known: for each anchor, the corpus rows that must not be negatives.
        num_negatives: number of negatives per anchor, most similar first.
        range_min: number of most similar rows to skip.
        range_max: number of most similar rows to consider; None: range_min + num_negatives, or
            range_min + 10 * num_negatives if `max_score`, `relative_margin` or `sampling` is given.
        max_score: rows with a higher similarity to the anchor are excluded.
        relative_margin: excludes rows with a similarity above s - relative_margin * |s|; s is that of the positive.
        similarity: as in `top_k`.
        sampling: chooses among the remaining rows, `fn(rows, count) -> rows`; None: the most similar.
        search: custom search, `fn(anchors, k) -> (similarities, rows)`, both [A, ≤k], best first, with
            row -1 where it found fewer; None: `top_k`.

    Raises:
        ValueError: for invalid parameters.
    """
    check_whole(1, num_negatives=num_negatives)
    check_whole(0, range_min=range_min)
    check_count(range_max=range_max)
    for name, value in (("max_score", max_score), ("relative_margin", relative_margin)):
        if value is not None:
            check_number(**{name: value})
    if range_max is not None and range_max <= range_min:
        raise UserError(f"`range_max` must be above range_min={range_min}. Received: range_max={range_max!r}.")
    num_known = max((len(rows) for rows in known), default=0)
    filtered = max_score is not None or relative_margin is not None or sampling is not None
    depth = range_max if range_max is not None else range_min + num_negatives * (10 if filtered else 1)
    if search is None:
        scores, rows = top_k(anchors, corpus, depth + num_known, similarity)
    else:
        scores, rows = search(anchors, depth + num_known)
    limit = np.full(len(scores), np.inf)
    if max_score is not None:
        limit = np.minimum(limit, max_score)
    if relative_margin is not None:
        positive_scores = compare_rows(np.asarray(anchors), np.asarray(positives), similarity)
        limit = np.minimum(limit, positive_scores - np.abs(positive_scores) * relative_margin)
    negatives = np.full((len(scores), num_negatives), -1, dtype="int64")
    for anchor, (row_scores, row) in enumerate(zip(scores, rows, strict=True)):
        unknown = ~np.isin(row, [-1, *known[anchor]])
        ranked = np.flatnonzero(unknown)[range_min:depth]
        remaining = row[ranked[row_scores[ranked] <= limit[anchor]]]
        chosen = remaining[:num_negatives] if sampling is None else sampling(remaining, num_negatives)
        negatives[anchor, : len(chosen)] = chosen
    return negatives
