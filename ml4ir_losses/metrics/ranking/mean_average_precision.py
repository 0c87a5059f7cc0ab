"""The metric `map`."""

from __future__ import annotations

from typing import Literal

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import PositiveInt, checked
from ml4ir_losses.core.registry import register_metric
from ml4ir_losses.metrics.base import EmptyQueries, Values, ranked_documents, up_to, weighted_values
from ml4ir_losses.metrics.ties import Ties
from ml4ir_losses.ops import row_sum, safe_divide
from ml4ir_losses.ops.gains import inverse


@register_metric("map")
@checked
def mean_average_precision(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    topn: PositiveInt | None = None,
    ties: Ties | Literal["together"] = "average",
    relevance_threshold: float = 1.0,
    denominator: Literal["relevant", "topn"] = "relevant",
    empty_queries: EmptyQueries = "skip",
) -> Values:
    r"""Average precision: the mean, over the relevant documents, of the precision at the rank of each.

    $$\frac{\sum_{r \le n} w_r\,rel_r\,P@r}{\sum_i w_i\,rel_i}$$

    Relevant documents below the top n count as 0: the denominator is over the whole list, as in trec_eval's `map_cut`.
    With ties `together`, the documents with equal scores all have the last of their ranks, as in scikit-learn.
    `worst` ranks the heaviest of the relevant documents with equal scores first.

    Args:
        denominator: `relevant` divides by the number of relevant documents, `topn` by at most n, as LightGBM and
            XGBoost do, so that a query with more than n relevant documents can reach 1.

    Source: Harman, "Overview of the first TREC conference" (1993).
    """
    docs = ranked_documents(
        labels,
        scores,
        mask,
        item_weight,
        "average" if ties == "together" else ties,
        # The precision rises from one relevant document of a group to the next: the heaviest first.
        relevance=lambda docs: ops.where(docs.labels >= relevance_threshold, -docs.weight, -float("inf")),
    )
    relevant = docs.relevant(relevance_threshold)
    weighted = docs.weight * relevant
    precision_at = up_to(topn, inverse)
    if ties == "together":
        groups = docs.groups
        found = groups.above(relevant) + groups.total(relevant)
        precisions = ops.where(docs.retrieved, found * precision_at(groups.start + groups.size), 0.0)
    else:
        precisions = docs.mean((1.0 + docs.groups.before(relevant, own=1.0)) * docs.at_place(precision_at))
    total = row_sum(weighted)
    if denominator == "topn" and topn is not None:
        total = total * topn / ops.maximum(row_sum(relevant), topn)
    value = safe_divide(row_sum(weighted * precisions), total)
    return weighted_values(docs, value, relevant, empty_queries)
