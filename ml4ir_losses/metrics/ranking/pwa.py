"""The metric `pwa`."""

from __future__ import annotations

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import PositiveInt, checked
from ml4ir_losses.core.registry import register_metric
from ml4ir_losses.metrics.base import EmptyQueries, Values, fill_empty_queries, ranked_documents, up_to
from ml4ir_losses.metrics.ties import Ties
from ml4ir_losses.ops import list_weight, row_sum, safe_divide
from ml4ir_losses.ops.gains import inverse


@register_metric("pwa")
@checked
def pwa(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    topn: PositiveInt | None = None,
    ties: Ties = "average",
    empty_queries: EmptyQueries = "skip",
) -> Values:
    r"""Position-weighted average of the labels of the top n.

    $$\frac{\sum_{r \le n} y_r / r}{\sum_{r \le \min(n, |documents|)} 1 / r}$$

    Labels below 0 count as 0. A query without a label above 0 is empty. The weight of a query is the mean weight of
    its documents.

    Source: TF-Ranking's `PWAMetric` (there `topn` is 5 by default).
    """
    docs = ranked_documents(labels, scores, mask, item_weight, ties)
    labels = ops.where(docs.labels > 0, docs.labels, 0.0)
    position_weight = docs.at_rank(up_to(topn, inverse))
    value = safe_divide(row_sum(labels * position_weight), row_sum(position_weight))
    weight = list_weight(ops.zeros_like(labels), docs.valid, docs.weight)
    return fill_empty_queries(value, weight, ops.any(labels > 0, axis=-1), weight, empty_queries)
