"""The metric `precision`."""

from __future__ import annotations

from typing import Literal

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import PositiveInt, checked
from ml4ir_losses.core.registry import register_metric
from ml4ir_losses.metrics.base import EmptyQueries, Values, ranked_documents, weighted_values
from ml4ir_losses.metrics.ties import Ties
from ml4ir_losses.ops import row_sum, safe_divide


@register_metric("precision")
@checked
def precision(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    topn: PositiveInt | None = None,
    ties: Ties = "average",
    relevance_threshold: float = 1.0,
    denominator: Literal["retrieved", "topn"] = "retrieved",
    empty_queries: EmptyQueries = "skip",
) -> Values:
    r"""Share of relevant documents among the top n.

    $$\frac{\sum_{r \le n} rel_r}{\min(n, |documents|)}$$

    Args:
        denominator: `retrieved` divides by min(n, number of documents); `topn` by n, as trec_eval does, so that a
            list shorter than n cannot reach 1. Without `topn` both are the number of documents.

    Source: Manning, Raghavan, Schütze, "Introduction to information retrieval", 8.4 (2008).
    """
    docs = ranked_documents(labels, scores, mask, item_weight, ties)
    relevant = docs.relevant(relevance_threshold)
    found, size = (row_sum(docs.top(ops.cast(x, relevant.dtype), topn)) for x in (relevant, docs.valid))
    if denominator == "topn" and topn is not None:
        size = ops.full_like(size, topn)
    return weighted_values(docs, safe_divide(found, size), relevant, empty_queries)
