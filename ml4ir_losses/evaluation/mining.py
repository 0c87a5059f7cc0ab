"""Hard negatives for pairs of texts: rows to train on, found by a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError, check_choice, check_whole
from ml4ir_losses.evaluation.encoding import DOCUMENT, QUERY, BiEncoder, check_lengths, encode
from ml4ir_losses.evaluation.indices import INDICES, searcher
from ml4ir_losses.evaluation.nearest import SIMILARITIES, compare, hard_negatives, unit

Row = tuple[Any, ...]
SAMPLINGS = ("top", "random")
_ANCHORS = 1024  # anchors at a time


@dataclass(frozen=True)
class MiningSummary:
    """What was mined.

    Attributes:
        rows: rows of the output.
        anchors: different anchors.
        short: anchors with fewer negatives than asked for.
        positive_score: the mean similarity of anchors and their positives.
        negative_score: the mean similarity of anchors and their negatives; None: there are none.
    """

    rows: int
    anchors: int
    short: int
    positive_score: float
    negative_score: float | None


class MinedRows(Iterator[Row]):
    """The rows one by one, and the `summary` of all of them, known from the start."""

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
    """Documents that a model takes for relevant and that are not known to be: column names, and an iterator of rows.

    An anchor that comes several times has several positives. Neither they nor the anchor's own text are negatives.
    Ranks count the documents that may be negatives, the most similar one first; the rules on scores come after them.

    Args:
        model: a bi-encoder.
        anchors: the anchor of each pair.
        positives: the positive of each pair.
        corpus: the documents that may be negatives; None: the positives.
        output: `triplet`: (anchor, positive, negative); `n_tuple`: (anchor, positive, negative_1, ...), of anchors
            with all negatives that were asked for; `labeled_pair`: (anchor, document, label), label 1 or 0;
            `labeled_list`: the same with a query_id, of anchors with a negative, the rows of an anchor together.
        num_negatives: how many for each anchor.
        range_min: so many of the most similar documents are left out.
        range_max: only so many of the most similar documents are looked at; None: as many as are needed for
            `num_negatives` where nothing else rules one out, ten times that where something may.
        max_score: documents more similar to the anchor are left out.
        relative_margin: documents more similar than (1 - this) times the least similar positive are left out.
        similarity: `cosine`, `dot` or `euclidean`.
        sampling: `top`: the most similar documents that are left; `random`: any of them.
        seed: of `random`, and of an index.
        index: `exact`, or `hnswlib` or `faiss` for a large corpus: they may miss a document; scores are exact.

    Raises:
        DataError: for columns of different lengths, and an empty corpus.
        UserError: for parameters that are not allowed, and an index whose package is not installed.

    Source: sentence-transformers' `mine_hard_negatives`, which counts ranks after the rules on scores and adds the
    positives to a given corpus; the margin is that of Moreira et al., "NV-Retriever: improving text embedding models
    with effective hard-negative mining" (2024).
    """
    check_lengths(anchors=anchors, positives=positives)
    check_choice(tuple(OUTPUTS), output=output)
    check_choice(SIMILARITIES, similarity=similarity)
    check_choice(SAMPLINGS, sampling=sampling)
    check_choice(INDICES, index=index)
    check_whole(0, seed=seed)
    rules: dict[str, Any] = {"num_negatives": num_negatives, "range_min": range_min, "range_max": range_max}
    rules |= {"max_score": max_score, "relative_margin": relative_margin}
    none = np.empty((0, 1))
    hard_negatives(none, none, none, [], **rules)  # its checks, before texts are encoded
    if corpus is not None and not len(corpus):
        raise DataError("`corpus` must not be empty.")
    known: dict[str, list[str]] = {}
    for anchor, positive in dict.fromkeys(zip(anchors, positives, strict=True)):
        known.setdefault(anchor, []).append(positive)
    documents = list(dict.fromkeys(positives if corpus is None else corpus))
    if sampling == "random":
        rules["sampling"] = _random(np.random.default_rng(seed))
    found, scores = _search(model, known, documents, rules, similarity, index, seed)

    def rows() -> Iterator[Row]:
        for number, ((anchor, own), negatives) in enumerate(zip(known.items(), found, strict=True), start=1):
            texts = [documents[row] for row in negatives if row >= 0]
            if output != "n_tuple" or len(texts) == num_negatives:
                yield from OUTPUTS[output](number, anchor, own, texts)

    summary = MiningSummary(
        rows=sum(1 for _ in rows()),
        anchors=len(known),
        short=int((found < 0).any(axis=1).sum()),
        positive_score=float(np.mean(scores["positive"])),
        negative_score=float(np.mean(scores["negative"])) if scores["negative"] else None,
    )
    return _columns(output, num_negatives), MinedRows(rows(), summary)


def _search(
    model: BiEncoder,
    known: Mapping[str, Sequence[str]],
    documents: Sequence[str],
    rules: dict[str, Any],
    similarity: str,
    index: str,
    seed: int,
) -> tuple[Array, dict[str, list[float]]]:
    """The documents that are each anchor's negatives, [A, num_negatives], -1: none; the scores of all pairs."""
    texts = list(dict.fromkeys([*documents, *(text for own in known.values() for text in own)]))
    place = {text: row for row, text in enumerate(texts)}
    embeddings, queries = encode(model, texts, DOCUMENT), encode(model, list(known), QUERY)
    if similarity == "cosine":  # once, not for every block
        embeddings, queries, similarity = unit(embeddings), unit(queries), "dot"
    corpus = embeddings[: len(documents)]
    search = searcher(index, corpus, similarity, seed)

    def alike(anchor: int, rows: Sequence[int] | Array) -> Array:
        return compare(queries[anchor : anchor + 1], embeddings[rows], similarity).ravel()

    own = [[place[text] for text in texts] for texts in known.values()]
    not_negative = [[place.get(anchor, -1), *rows] for anchor, rows in zip(known, own, strict=True)]
    own_scores = [alike(anchor, rows) for anchor, rows in enumerate(own)]
    hardest = [rows[int(np.argmin(values))] for rows, values in zip(own, own_scores, strict=True)]
    found = np.concatenate(
        [
            hard_negatives(
                queries[some],
                embeddings[hardest[some]],
                corpus,
                not_negative[some],
                similarity=similarity,
                search=search,
                **rules,
            )
            for some in (slice(start, start + _ANCHORS) for start in range(0, len(queries), _ANCHORS))
        ]
    )
    negative_scores = [alike(anchor, rows[rows >= 0]) for anchor, rows in enumerate(found) if (rows >= 0).any()]
    return found, {
        "positive": [float(value) for values in own_scores for value in values],
        "negative": [float(value) for values in negative_scores for value in values],
    }


def _random(rng: np.random.Generator) -> Callable[[Array, int], Array]:
    """A choice without repetition, in the order of the rows."""

    def choose(rows: Array, count: int) -> Array:
        return rows[np.sort(rng.permutation(len(rows))[:count])]

    return choose


def _triplets(number: int, anchor: str, positives: Sequence[str], negatives: Sequence[str]) -> Iterator[Row]:
    return ((anchor, positive, negative) for positive in positives for negative in negatives)


def _tuples(number: int, anchor: str, positives: Sequence[str], negatives: Sequence[str]) -> Iterator[Row]:
    return ((anchor, positive, *negatives) for positive in positives)


def _labeled_pairs(number: int, anchor: str, positives: Sequence[str], negatives: Sequence[str]) -> Iterator[Row]:
    for label, documents in ((1, positives), (0, negatives)):
        yield from ((anchor, document, label) for document in documents)


def _labeled_list(number: int, anchor: str, positives: Sequence[str], negatives: Sequence[str]) -> Iterator[Row]:
    if negatives:
        yield from ((number, *row) for row in _labeled_pairs(number, anchor, positives, negatives))


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
