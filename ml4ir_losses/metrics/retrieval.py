"""Metrics of retrieval from a corpus, per query, in NumPy: a ranking of document ids and the judgments of a query."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from ml4ir_losses.core.errors import UserError, check_choice, check_count

Judgments = Mapping[Any, float]


def ndcg(ranking: Sequence[Hashable], judged: Judgments, topn: int | None = None) -> float:
    r"""NDCG of one ranking: Σ_r y_r / log2(1 + r) over that of the best order of all judged documents.

    Args:
        ranking: document ids, best first; those that are not judged have the grade 0.
        judged: the grade of each judged document, also of those that were not found; grades are the gains.
        topn: the ranks that count; None: all.

    Returns:
        0 where no document has a grade above 0.

    Source: Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques" (2002); gains as in trec_eval.
    """
    check_count(topn=topn)
    best = _dcg(sorted((y for y in judged.values() if y > 0), reverse=True)[:topn])
    return _dcg([max(judged.get(d, 0.0), 0.0) for d in ranking[:topn]]) / best if best else 0.0


def _dcg(grades: Sequence[float]) -> float:
    return math.fsum(y / math.log2(1 + r) for r, y in enumerate(grades, start=1))


def mrr(ranking: Sequence[Hashable], judged: Judgments, topn: int | None = None) -> float:
    """1 over the rank of the first relevant document; 0 without one among `topn`."""
    check_count(topn=topn)
    return next((1.0 / r for r, d in enumerate(ranking[:topn], start=1) if judged.get(d, 0.0) > 0), 0.0)


def average_precision(ranking: Sequence[Hashable], judged: Judgments, topn: int | None = None) -> float:
    """Mean, over all relevant documents, of the precision at the rank of each; 0 for one that is not among `topn`."""
    check_count(topn=topn)
    relevant, found, total = sum(y > 0 for y in judged.values()), 0, 0.0
    for rank, document in enumerate(ranking[:topn], start=1):
        if judged.get(document, 0.0) > 0:
            found += 1
            total += found / rank
    return total / relevant if relevant else 0.0


def recall(ranking: Sequence[Hashable], judged: Judgments, topn: int | None = None) -> float:
    """The share of the relevant documents among the first `topn`."""
    check_count(topn=topn)
    relevant = sum(y > 0 for y in judged.values())
    return sum(judged.get(d, 0.0) > 0 for d in ranking[:topn]) / relevant if relevant else 0.0


METRICS = {"ndcg": ndcg, "mrr": mrr, "map": average_precision, "recall": recall}
Metrics = Sequence[tuple[str, int | None]]
RETRIEVAL_METRICS: Metrics = (("ndcg", 10), ("mrr", 10), ("map", 100), ("recall", 100))


def check_metrics(metrics: Metrics) -> None:
    """Raises `UserError` unless every metric is a pair of a known name and the ranks that count, or None for all."""
    for metric in metrics:
        if not isinstance(metric, (tuple, list)) or len(metric) != 2:
            raise UserError(
                f"`metrics` must be pairs of a name and a topn, ('ndcg', 10) for one. Received: {metric!r}."
            )
        check_choice(tuple(METRICS), metrics=metric[0])
        check_count(topn=metric[1])


def metric_label(name: str, topn: int | None) -> str:
    """`ndcg_10` for ("ndcg", 10); `map` for ("map", None)."""
    return name if topn is None else f"{name}_{topn}"


def evaluate_rankings(
    rankings: Mapping[Any, Sequence[Hashable]],
    judgments: Mapping[Any, Judgments],
    metrics: Metrics = RETRIEVAL_METRICS,
) -> dict[str, list[float]]:
    """Every metric of every judged query, in the order of the judgments, by `name_topn`.

    A query without a relevant document does not count; one without a ranking has found nothing. Of a document that
    comes twice in a ranking the first place counts.

    Raises:
        UserError: for metrics that do not exist.
    """
    check_metrics(metrics)
    judged = {q: documents for q, documents in judgments.items() if any(y > 0 for y in documents.values())}
    once = {q: list(dict.fromkeys(rankings.get(q, ()))) for q in judged}
    return {
        metric_label(name, topn): [METRICS[name](once[q], judged[q], topn) for q in judged] for name, topn in metrics
    }
