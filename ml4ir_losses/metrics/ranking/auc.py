"""The metric `auc`."""

from __future__ import annotations

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import PositiveInt, checked
from ml4ir_losses.core.registry import register_metric
from ml4ir_losses.metrics.base import Documents, EmptyQueries, Values, fill_empty_queries, ranked_documents
from ml4ir_losses.metrics.ties import Ties
from ml4ir_losses.ops import list_weight, row_sum, safe_divide


@register_metric("auc")
@checked
def area_under_roc(
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
    r"""Area under the ROC curve of the query: how often a relevant document is above an irrelevant one.

    $$\frac{1}{|P||N|} \sum_{i \in P} \sum_{j \in N} [r_i < r_j]$$
    where P are the relevant documents and N the irrelevant ones.

    Equal scores count 1/2. With `topn`, the documents below the top n are not distinguished, and a pair of them counts
    1/2 (limited AUC). A query without a relevant or without an irrelevant document is empty. The mean is over queries,
    not over all pairs: that is `ordered_pair_accuracy`.

    Source: Hanley, McNeil, "The meaning and use of the area under a receiver operating characteristic curve" (1982);
    with `topn`: Schröder, Thiele, Lehner, "Setting goals and choosing metrics for recommender system evaluations"
    (2011).
    """
    docs = ranked_documents(labels, scores, mask, item_weight, ties)
    relevant = docs.relevant(relevance_threshold)
    irrelevant = ops.cast(docs.valid, relevant.dtype) - relevant
    number_relevant, number_irrelevant = row_sum(relevant), row_sum(irrelevant)
    above = docs.mean(_irrelevant_above(docs, irrelevant, topn))
    below = ops.where(docs.retrieved, relevant * (number_irrelevant[:, None] - above), 0.0)
    value = safe_divide(row_sum(below), number_relevant * number_irrelevant)
    weight = list_weight(relevant, docs.valid, docs.weight)
    nonempty = ops.logical_and(number_relevant > 0, number_irrelevant > 0)
    return fill_empty_queries(value, weight, nonempty, weight, empty_queries)


def _irrelevant_above(docs: Documents, irrelevant: Tensor, topn: int | None) -> Tensor:
    """The expected number of irrelevant documents above a relevant one at each place, [B, N]; of equal ones half."""
    groups = docs.groups
    above = groups.before(irrelevant, own=0.0)
    if topn is None:
        return above
    # Of a relevant document below the top n: all irrelevant ones in the top, and half of the others.
    places_in_top = ops.clip(topn - groups.start, 0.0, groups.size)
    others = groups.total(irrelevant) / ops.maximum(groups.size - 1.0, 1.0)
    in_top = ops.where(
        groups.start < topn,
        groups.above(irrelevant) + places_in_top * others,
        row_sum(docs.top(irrelevant, topn))[:, None],
    )
    retrieved = row_sum(ops.where(docs.retrieved, irrelevant, 0.0))[:, None]
    return ops.where(docs.rank > topn, 0.5 * (in_top + retrieved), above)
