"""The metric `recall`."""

from __future__ import annotations

from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.core.parameters import PositiveInt, checked
from ml4ir_losses.core.registry import register_metric
from ml4ir_losses.metrics.base import EmptyQueries, Values, ranked_documents, weighted_values
from ml4ir_losses.metrics.ties import Ties
from ml4ir_losses.ops import row_sum, safe_divide


@register_metric("recall")
@checked
def recall(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    topn: PositiveInt | None = None,
    ties: Ties = "average",
    relevance_threshold: float = 1.0,
    empty_queries: EmptyQueries = "skip",
) -> Values:
    r"""Share of the relevant documents that are in the top n.

    $$\frac{\sum_{r \le n} rel_r}{\sum_r rel_r}$$

    Source: Manning, Raghavan, Schütze, "Introduction to information retrieval", 8.4 (2008).
    """
    docs = ranked_documents(labels, scores, mask, item_weight, ties)
    relevant = docs.relevant(relevance_threshold)
    value = safe_divide(row_sum(docs.top(relevant, topn)), row_sum(relevant))
    return weighted_values(docs, value, relevant, empty_queries)
