"""Hard-negative mining: training rows with negatives found by a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml4ir_losses.core.arrays import Array, normalize_rows
from ml4ir_losses.core.errors import DataError, check_choice, check_whole
from ml4ir_losses.evaluation.encoding import DOCUMENT, QUERY, BiEncoder, check_lengths, encode
from ml4ir_losses.evaluation.indices import INDICES, searcher
from ml4ir_losses.evaluation.nearest import SIMILARITIES, compare, hard_negatives

Row = tuple[Any, ...]
SAMPLINGS = ("top", "random")
_BLOCK = 1024  # anchors searched at a time


@dataclass(frozen=True)
class MiningSummary:
    """Statistics of the mined rows.

    Attributes:
        rows: number of output rows.
        anchors: number of distinct anchors.
        short: number of anchors with fewer than `num_negatives` negatives.
        positive_score: the mean similarity of anchors and their positives.
        negative_score: the mean similarity of anchors and their negatives; None without negatives.
    """

    rows: int
    anchors: int
    short: int
    positive_score: float
    negative_score: float | None


class MinedRows(Iterator[Row]):
    """Iterator over the mined rows; `summary` covers all rows and is available before iterating."""

    def __init__(self, rows: Iterator[Row], summary: MiningSummary) -> None:
        self._rows, self.summary = rows, summary

    def __next__(self) -> Row:
        return next(self._rows)


def mine(
    model: BiEncoder,
    anchors: Sequence[str],
    positives: Sequence[str],
    corpus: Sequence[str] | None = None,
    *,
    output: str = "triplet",
    num_negatives: int = 3,
    range_min: int = 0,
    range_max: int | None = None,
    max_score: float | None = None,
    relative_margin: float | None = None,
    similarity: str = "cosine",
    sampling: str = "top",
    seed: int = 0,
    index: str = "exact",
) -> tuple[tuple[str, ...], MinedRows]:
    """Mine hard negatives, documents a model scores high that are no known positives: (column names, iterator of rows).

    An anchor that occurs several times has several positives. Neither they nor the anchor's own text are negatives.
    `range_min` and `range_max` count documents that may be negatives, most similar first; `max_score` and
    `relative_margin` are applied afterwards.

    Args:
        model: a bi-encoder.
        anchors: the anchor of each pair.
        positives: the positive of each pair.
        corpus: the documents that may be negatives; None: the positives.
        output: `triplet`: (anchor, positive, negative); `n_tuple`: (anchor, positive, negative_1, ...), for anchors
            with all `num_negatives` negatives; `labeled_pair`: (anchor, document, label), label 1 or 0;
            `labeled_list`: the same with a query_id, for anchors with at least one negative, rows grouped by anchor.
        num_negatives: number of negatives per anchor.
        range_min: number of most similar documents to skip.
        range_max: number of most similar documents to consider; None: range_min + num_negatives, or
            range_min + 10 * num_negatives if `max_score`, `relative_margin` or random sampling is used.
        max_score: documents with a higher similarity to the anchor are excluded.
        relative_margin: excludes documents with a similarity above
            s - relative_margin * |s|, where s is that of the least similar positive.
        similarity: `cosine`, `dot` or `euclidean`.
        sampling: `top`: the most similar remaining documents; `random`: a random choice of them.
        seed: random seed of the sampling and of the index.
        index: `exact`, or `hnswlib` or `faiss` for a large corpus: approximate search with exact scores.

    Raises:
        DataError: for columns of different lengths, or an empty corpus.
        UserError: for invalid parameters, or an index whose package is not installed.

    Source: sentence-transformers' `mine_hard_negatives`, which counts ranks after the score filters and adds the
    positives to a given corpus; the relative margin is that of Moreira et al., "NV-Retriever: improving text embedding
    models with effective hard-negative mining" (2024).
    """
    check_lengths(anchors=anchors, positives=positives)
    check_choice(tuple(OUTPUTS), output=output)
    check_choice(SIMILARITIES, similarity=similarity)
    check_choice(SAMPLINGS, sampling=sampling)
    check_choice(INDICES, index=index)
    check_whole(0, seed=seed)
    rules: dict[str, Any] = {"num_negatives": num_negatives, "range_min": range_min, "range_max": range_max}
    rules |= {"max_score": max_score, "relative_margin": relative_margin}
    empty = np.empty((0, 1))
    hard_negatives(empty, empty, empty, [], **rules)  # validates the parameters before texts are encoded
    if corpus is not None and not len(corpus):
        raise DataError("`corpus` must not be empty.")
    positives_of: dict[str, list[str]] = {}
    for anchor, positive in dict.fromkeys(zip(anchors, positives, strict=True)):
        positives_of.setdefault(anchor, []).append(positive)
    documents = list(dict.fromkeys(positives if corpus is None else corpus))
    if sampling == "random":
        rules["sampling"] = _random(np.random.default_rng(seed))
    mined, scores = _search(model, positives_of, documents, rules, similarity, index, seed)

    def rows() -> Iterator[Row]:
        for query_id, ((anchor, anchor_positives), negatives) in enumerate(
            zip(positives_of.items(), mined, strict=True), start=1
        ):
            texts = [documents[row] for row in negatives if row >= 0]
            if output != "n_tuple" or len(texts) == num_negatives:
                yield from OUTPUTS[output](query_id, anchor, anchor_positives, texts)

    summary = MiningSummary(
        rows=sum(1 for _ in rows()),
        anchors=len(positives_of),
        short=int((mined < 0).any(axis=1).sum()),
        positive_score=float(np.mean(scores["positive"])),
        negative_score=float(np.mean(scores["negative"])) if scores["negative"] else None,
    )
    return _columns(output, num_negatives), MinedRows(rows(), summary)


def _search(
    model: BiEncoder,
    positives_of: Mapping[str, Sequence[str]],
    documents: Sequence[str],
    rules: dict[str, Any],
    similarity: str,
    index: str,
    seed: int,
) -> tuple[Array, dict[str, list[float]]]:
    """Rows of each anchor's negatives in `documents`, [A, num_negatives], -1: none; similarities of all pairs."""
    texts = list(dict.fromkeys([*documents, *(text for own in positives_of.values() for text in own)]))
    row_of = {text: row for row, text in enumerate(texts)}
    embeddings, queries = encode(model, texts, DOCUMENT), encode(model, list(positives_of), QUERY)
    if similarity == "cosine":  # normalize once, not in every block
        embeddings, queries, similarity = normalize_rows(embeddings), normalize_rows(queries), "dot"
    corpus = embeddings[: len(documents)]
    search = searcher(index, corpus, similarity, seed)

    def similarities(anchor: int, rows: Sequence[int] | Array) -> Array:
        return compare(queries[anchor : anchor + 1], embeddings[rows], similarity).ravel()

    own = [[row_of[text] for text in texts] for texts in positives_of.values()]
    excluded = [[row_of.get(anchor, -1), *rows] for anchor, rows in zip(positives_of, own, strict=True)]
    own_scores = [similarities(anchor, rows) for anchor, rows in enumerate(own)]
    least_similar = [rows[int(np.argmin(values))] for rows, values in zip(own, own_scores, strict=True)]
    mined = np.concatenate(
        [
            hard_negatives(
                queries[block],
                embeddings[least_similar[block]],
                corpus,
                excluded[block],
                similarity=similarity,
                search=search,
                **rules,
            )
            for block in (slice(start, start + _BLOCK) for start in range(0, len(queries), _BLOCK))
        ]
    )
    negative_scores = [similarities(anchor, rows[rows >= 0]) for anchor, rows in enumerate(mined) if (rows >= 0).any()]
    return mined, {
        "positive": [float(value) for values in own_scores for value in values],
        "negative": [float(value) for values in negative_scores for value in values],
    }


def _random(rng: np.random.Generator) -> Callable[[Array, int], Array]:
    """Random sampling without replacement that keeps the order of the rows."""

    def choose(rows: Array, count: int) -> Array:
        return rows[np.sort(rng.permutation(len(rows))[:count])]

    return choose


def _triplets(query_id: int, anchor: str, positives: Sequence[str], negatives: Sequence[str]) -> Iterator[Row]:
    return ((anchor, positive, negative) for positive in positives for negative in negatives)


def _tuples(query_id: int, anchor: str, positives: Sequence[str], negatives: Sequence[str]) -> Iterator[Row]:
    return ((anchor, positive, *negatives) for positive in positives)


def _labeled_pairs(query_id: int, anchor: str, positives: Sequence[str], negatives: Sequence[str]) -> Iterator[Row]:
    for label, documents in ((1, positives), (0, negatives)):
        yield from ((anchor, document, label) for document in documents)


def _labeled_list(query_id: int, anchor: str, positives: Sequence[str], negatives: Sequence[str]) -> Iterator[Row]:
    if negatives:
        yield from ((query_id, *row) for row in _labeled_pairs(query_id, anchor, positives, negatives))


OUTPUTS: dict[str, Callable[[int, str, Sequence[str], Sequence[str]], Iterator[Row]]] = {
    "triplet": _triplets,
    "n_tuple": _tuples,
    "labeled_pair": _labeled_pairs,
    "labeled_list": _labeled_list,
}


def _columns(output: str, num_negatives: int) -> tuple[str, ...]:
    if output == "n_tuple":
        return ("anchor", "positive", *(f"negative_{i}" for i in range(1, num_negatives + 1)))
    names = {
        "triplet": ("anchor", "positive", "negative"),
        "labeled_pair": ("anchor", "document", "label"),
        "labeled_list": ("query_id", "anchor", "document", "label"),
    }
    return names[output]
