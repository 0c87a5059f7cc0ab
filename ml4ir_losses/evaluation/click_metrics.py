"""What users of ml4ir know: the average click rank, and failures to rank matches above the click."""

from __future__ import annotations

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.evaluation.scored_lists import ScoredLists
from ml4ir_losses.evaluation.scoring import QueryMetrics

FAILURES = ("rank_match_failure", "all_failure", "intrinsic_failure")
CLICK_METRICS = ("acr", *FAILURES)  # the lower the better


def click_metrics(lists: ScoredLists, scores: Array, rng: np.random.Generator) -> QueryMetrics:
    r"""Per-query `acr`, and the failures of `FAILURES` where the lists have a `match`; lower is better for all.

    `acr` is the rank of the clicked document that is ranked first: its expected value over the orders of equal scores,
    above + (n + 1) / (r + 1) for r clicked among n documents of its score. Documents with the highest label of their
    query are clicked; queries without a label above 0 are excluded.

    Args:
        lists: the documents.
        scores: what they are ranked by, [rows].
        rng: orders equal scores for the failures.

    Source: ml4ir's `ACR`, `RankMatchFailure` and `compute_aux_metrics`, which keep the order of the file among equal
    scores.
    """
    best_label = lists.highest(lists.labels)
    query = lists.query_of_row
    clicked = lists.labels == best_label[query]
    first = lists.highest(np.where(clicked, scores, -np.inf))[query]
    above, tied = lists.sums((scores > first).astype(float)), lists.sums((scores == first).astype(float))
    clicked_ties = lists.sums((clicked & (scores == first)).astype(float))
    counted = (best_label > 0).astype(float)
    result = QueryMetrics({"acr": above + (tied + 1) / (clicked_ties + 1)}, {"acr": counted}, lists.ids)
    if lists.match is None:
        return result
    order = np.lexsort((rng.random(len(scores)), -scores, query))
    values = np.zeros((len(lists), len(FAILURES)))
    weights = np.zeros_like(values)
    for q in np.flatnonzero(counted):
        rows = order[lists.offsets[q] : lists.offsets[q + 1]]
        click = int(np.argmax(clicked[rows]))
        match = lists.match[rows]
        values[q] = rank_match_failure(match, click), all_failure(match, click), intrinsic_failure(match)
        weights[q] = match[click] != 0, 1.0, 1.0
    for i, name in enumerate(FAILURES):
        result.values[name], result.weights[name] = values[:, i], weights[:, i]
    return result


def rank_match_failure(match: Array, click: int) -> float:
    """How far the matches at and above the click are from the ideal order: 1 - NDCG, 0 if every document matches.

    A document's grade is 1 / (its rank by match among those documents), 0 without a match; equal matches share the best
    rank, where ml4ir numbers them in the order of the file. The gain is 2^grade - 1.

    Args:
        match: how well each document matches, in ranked order; 0 is no match.
        click: the index of the clicked document.
    """
    seen = match[: click + 1]
    if (seen > 0).all():
        return 0.0
    better = (seen[None, :] > seen[:, None]).sum(axis=1)
    return _lost_gain(np.where(seen == 0, 0.0, 1.0 / (1.0 + better)))


def all_failure(match: Array, click: int) -> float:
    """1 if every document above the click matches less than the clicked one, else 0; 0 for a click on the first."""
    return float(click > 0 and bool((match[:click] < match[click]).all()))


def intrinsic_failure(match: Array) -> float:
    """1 - NDCG of the whole list with the matches as grades; 0 without a match."""
    return _lost_gain(match)


def _lost_gain(grades: Array) -> float:
    """1 - NDCG of grades in ranked order, with the gain 2^grade - 1 of those above 0."""
    highest = grades.max()
    if highest <= 0:
        return 0.0
    # relative to the highest gain, so that large values do not overflow
    gains = np.where(grades > 0, np.exp2(grades - highest) - np.exp2(-highest), 0.0)
    discounts = 1.0 / np.log2(np.arange(2, len(grades) + 2))
    return float(1.0 - gains @ discounts / (np.sort(gains)[::-1] @ discounts))
