"""Explains the order of texts: what each word of a document adds to its score for a query."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import UserError, check_whole
from ml4ir_losses.evaluation.encoding import DOCUMENT, QUERY, CrossEncoder
from ml4ir_losses.evaluation.explanation import Explanation, check_compared, ranks_of
from ml4ir_losses.evaluation.nearest import compare_rows
from ml4ir_losses.evaluation.shapley import Shapley, shapley_of_sample

TEXTS = 2_000  # texts scored for a document: they set the number of permutations
MAX_PERMUTATIONS, MIN_PERMUTATIONS = 64, 4
_TOGETHER = 1_024  # texts scored at a time


def explain_texts(
    model: Any,
    query: str,
    texts: Sequence[str],
    documents: Sequence[int] | None = None,
    *,
    ids: Sequence[str] | None = None,
    seed: int = 0,
) -> Explanation:
    """Why a text model ranks a document above another one: what their words add to their scores.

    Let v(S) be the score for the whole query of a document of which only the words S are left, in their order: the
    logit of a cross-encoder, the cosine of a bi-encoder, the dot product of a sparse one. A word adds its Shapley value
    in v, estimated from random orders of the words and their reverses. The words of a document add to its score less
    that of an empty document, so the differences between two documents sum to the difference of their scores. All
    occurrences of a word, in upper or lower case, are one.

    Args:
        model: an `EmbeddingModel` or a `TextCrossEncoder`.
        query: the text of the query.
        texts: the texts of N documents.
        documents: the numbers of those that are explained; the last is what the others are compared with. None: the two
            that are ranked first.
        ids: the ids of the N documents; None: numbers from 1.
        seed: of the permutations.

    Raises:
        UserError: for documents that cannot be compared.
    """
    check_whole(0, seed=seed)
    score, kind = _scorer(model, query)
    scores = score(texts)
    ranks = ranks_of(scores)
    chosen = [int(row) for row in (np.argsort(ranks)[:2] if documents is None else documents)]
    check_compared(chosen, len(texts))
    empty = float(score([""])[0])
    words = [_words(texts[row]) for row in chosen]
    features = list(dict.fromkeys(word for found in words for word, _ in found))
    values, errors = np.zeros((2, len(chosen), len(features)))
    for i, (row, found) in enumerate(zip(chosen, words, strict=True)):
        own = list(dict.fromkeys(word for word, _ in found))
        if own:
            columns = [features.index(word) for word in own]
            values[i, columns], errors[i, columns] = _shapley(score, found, own, empty, float(scores[row]), seed)
    return Explanation(
        query=query,
        documents=[str(row + 1 if ids is None else ids[row]) for row in chosen],
        logits=scores[chosen],
        ranks=ranks[chosen],
        features=features,
        contributions=values - values[-1],
        errors=np.hypot(errors, errors[-1]),
        method="permutation",
        cells=[[_count(sum(word == one for one, _ in found)) for word in features] for found in words],
        score=kind,
    )


def _scorer(model: Any, query: str) -> tuple[Callable[[Sequence[str]], Array], str]:
    """The function from documents to their scores for a query, [N] float64, and what these are."""
    if isinstance(model, CrossEncoder):
        return lambda texts: np.asarray(model.score_pairs([query] * len(texts), texts), "float64"), "logit"
    if not hasattr(model, "encode"):
        raise UserError("explain_texts takes a model that embeds texts or scores pairs of them.")
    vector, kind = model.encode([query], QUERY), "dot" if model.sparse else "cosine"

    def compare(texts: Sequence[str]) -> Array:
        found = model.encode(texts, DOCUMENT)
        return compare_rows(np.repeat(vector, len(found), axis=0), found, kind)

    return compare, kind


def _words(text: str) -> list[tuple[str, str]]:
    """(word in lower case without punctuation, word as it is), in the order of the text."""
    return [(re.sub(r"^\W+|\W+$", "", part).lower() or part, part) for part in text.split()]


def _shapley(
    score: Callable[[Sequence[str]], Array],
    words: Sequence[tuple[str, str]],
    distinct: Sequence[str],
    empty: float,
    whole: float,
    seed: int,
) -> Shapley:
    """What each of the distinct words of a document adds to its score."""
    place = {word: i for i, word in enumerate(distinct)}

    def text(kept: Array) -> str:
        return " ".join(part for word, part in words if kept[place[word]])

    def game(members: Array) -> Array:
        parts = np.split(members, range(_TOGETHER, len(members), _TOGETHER))
        return np.concatenate([np.empty(0), *(score([text(kept) for kept in part]) for part in parts if len(part))])

    permutations = int(np.clip(TEXTS // (2 * len(distinct)), MIN_PERMUTATIONS, MAX_PERMUTATIONS))
    return shapley_of_sample(game, len(distinct), empty, whole, permutations, seed, antithetic=True)


def _count(times: int) -> str:
    return "" if times == 0 else f"{times}×" if times > 1 else "yes"
