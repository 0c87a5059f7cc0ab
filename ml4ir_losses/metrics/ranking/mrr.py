"""The metric `mrr`."""

from __future__ import annotations

from typing import Literal

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import PositiveInt, checked
from ml4ir_losses.core.registry import register_metric
from ml4ir_losses.metrics.base import EmptyQueries, Values, ranked_documents, up_to, weighted_values
from ml4ir_losses.metrics.ties import Ties
from ml4ir_losses.ops import row_sum
from ml4ir_losses.ops.gains import inverse, relative_gain
from ml4ir_losses.ops.soft_ranks import RankFn


@register_metric("mrr")
@checked
def mrr(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    topn: PositiveInt | None = None,
    ties: Ties = "average",
    relevance_threshold: float | Literal["highest"] = 1.0,
    empty_queries: EmptyQueries = "skip",
    rank_fn: RankFn | None = None,
) -> Values:
    r"""Reciprocal rank of the first relevant document, 0 if none is in the top n.

    $$\max_{r \le n} rel_r / r$$

    With the threshold `highest`, the documents with the highest label of the query are relevant, if it is above 0.

    Source: Voorhees, "The TREC-8 question answering track report" (1999).
    """
    docs = ranked_documents(labels, scores, mask, item_weight, ties, rank_fn)
    if relevance_threshold == "highest":
        relevant = ops.cast(ops.equal(relative_gain(docs.labels, docs.valid, "identity"), 1.0), docs.labels.dtype)
    else:
        relevant = docs.relevant(relevance_threshold)
    if rank_fn is None:
        value = row_sum(docs.first(relevant) * docs.at_place(up_to(topn, inverse)))
    else:
        value = ops.max(relevant * docs.at_rank(up_to(topn, inverse)), axis=-1)
    return weighted_values(docs, value, relevant, empty_queries)
