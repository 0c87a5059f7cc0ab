"""Retrieval metrics of one query, in plain Python: from a ranking of document ids and the relevance judgments."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from ml4ir_losses.core.errors import UserError, check_choice, check_count

Judgments = Mapping[Any, float]


def ndcg(ranking: Sequence[Hashable], judged: Judgments, topn: int | None = None) -> float:
    r"""NDCG of a ranking: Σ_r y_r / log2(1 + r), divided by its value for the ideal ranking of all judged documents.

    Args:
        ranking: document ids, best first; documents without a judgment have the grade 0.
        judged: the grade of each judged document, whether retrieved or not; grades are the gains.
        topn: the cutoff; None: all ranks count.

    Returns:
        The NDCG; 0 if no document has a grade above 0.

    Source: Järvelin, Kekäläinen, "Cumulated gain-based evaluation of IR techniques" (2002); gains as in trec_eval.
    """
    check_count(topn=topn)
    best = _dcg(sorted((y for y in judged.values() if y > 0), reverse=True)[:topn])
    return _dcg([max(judged.get(d, 0.0), 0.0) for d in ranking[:topn]]) / best if best else 0.0


def _dcg(grades: Sequence[float]) -> float:
    return math.fsum(y / math.log2(1 + r) for r, y in enumerate(grades, start=1))


def mrr(ranking: Sequence[Hashable], judged: Judgments, topn: int | None = None) -> float:
    """Reciprocal rank of the first relevant document; 0 if none is in the top n."""
    check_count(topn=topn)
    return next((1.0 / r for r, d in enumerate(ranking[:topn], start=1) if judged.get(d, 0.0) > 0), 0.0)


def average_precision(ranking: Sequence[Hashable], judged: Judgments, topn: int | None = None) -> float:
    """Mean, over all relevant documents, of the precision at the rank of each; 0 for those not in the top n."""
    check_count(topn=topn)
    relevant, found, total = sum(y > 0 for y in judged.values()), 0, 0.0
    for rank, document in enumerate(ranking[:topn], start=1):
        if judged.get(document, 0.0) > 0:
            found += 1
            total += found / rank
    return total / relevant if relevant else 0.0


def recall(ranking: Sequence[Hashable], judged: Judgments, topn: int | None = None) -> float:
    """Share of the relevant documents that are in the top n."""
    check_count(topn=topn)
    relevant = sum(y > 0 for y in judged.values())
    return sum(judged.get(d, 0.0) > 0 for d in ranking[:topn]) / relevant if relevant else 0.0


METRIC_FUNCTIONS = {"ndcg": ndcg, "mrr": mrr, "map": average_precision, "recall": recall}
Metrics = Sequence[tuple[str, int | None]]
RETRIEVAL_METRICS: Metrics = (("ndcg", 10), ("mrr", 10), ("map", 100), ("recall", 100))


def check_metrics(metrics: Metrics) -> None:
    """Raises `UserError` unless every metric is a pair of a known name and a cutoff, which may be None."""
    for metric in metrics:
        if not isinstance(metric, (tuple, list)) or len(metric) != 2:
            raise UserError(
                f"`metrics` must be pairs of a name and a topn, such as ('ndcg', 10). Received: {metric!r}."
            )
        check_choice(tuple(METRIC_FUNCTIONS), metrics=metric[0])
        check_count(topn=metric[1])


def metric_label(name: str, topn: int | None) -> str:
    """`ndcg_10` for ("ndcg", 10); `map` for ("map", None)."""
    return name if topn is None else f"{name}_{topn}"


def evaluate_rankings(
    rankings: Mapping[Any, Sequence[Hashable]],
    judgments: Mapping[Any, Judgments],
    metrics: Metrics = RETRIEVAL_METRICS,
) -> dict[str, list[float]]:
    """The values of every metric by its label, such as `ndcg_10`: one per judged query, in the order of the judgments.

    Queries without a relevant document are left out. A query without a ranking has retrieved nothing. Only the first
    occurrence of a document in a ranking counts.

    Raises:
        UserError: for an unknown metric or an invalid cutoff.
    """
    check_metrics(metrics)
    judged = {q: documents for q, documents in judgments.items() if any(y > 0 for y in documents.values())}
    unique = {q: list(dict.fromkeys(rankings.get(q, ()))) for q in judged}
    return {
        metric_label(name, topn): [METRIC_FUNCTIONS[name](unique[q], judged[q], topn) for q in judged]
        for name, topn in metrics
    }
