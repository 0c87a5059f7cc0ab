"""The metric `hits`."""

from __future__ import annotations

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import PositiveInt, checked
from ml4ir_losses.core.registry import register_metric
from ml4ir_losses.metrics.base import EmptyQueries, Values, ranked_documents, up_to, weighted_values
from ml4ir_losses.metrics.ties import Ties
from ml4ir_losses.ops import row_sum


@register_metric("hits", aliases=("success",))
@checked
def hits(
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
    r"""1 if a relevant document is in the top n, else 0 (hit rate, success at n).

    $$\max_{r \le n} rel_r$$

    Source: Deshpande, Karypis, "Item-based top-N recommendation algorithms" (2004).
    """
    docs = ranked_documents(labels, scores, mask, item_weight, ties)
    relevant = docs.relevant(relevance_threshold)
    value = row_sum(docs.first(relevant) * docs.at_place(up_to(topn, ops.ones_like)))
    return weighted_values(docs, value, relevant, empty_queries)
