"""The metric `arp`."""

from __future__ import annotations

from typing import Annotated, Literal

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import Allowed, PositiveInt, checked
from ml4ir_losses.core.registry import register_metric
from ml4ir_losses.metrics.base import Values, ranked_documents
from ml4ir_losses.metrics.ties import Ties
from ml4ir_losses.ops import row_sum, safe_divide
from ml4ir_losses.ops.soft_ranks import RankFn

OnlySkip = Annotated[
    Literal["skip"], Allowed("skip for 'arp', as a query without relevance has no position to average")
]


@register_metric("arp", lower_is_better=True)
@checked
def arp(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    topn: PositiveInt | None = None,
    ties: Ties = "average",
    empty_queries: OnlySkip = "skip",
    rank_fn: RankFn | None = None,
) -> Values:
    r"""Average relevance position: the label-weighted mean rank; lower is better.

    $$\frac{\sum_i w_i\,y_i \min(r_i, n+1)}{\sum_i w_i\,y_i}$$

    With `topn`, every rank below the top n counts as n + 1: a mean over the top n alone would reward a model for
    ranking relevant documents below it. The weight of a query is Σ w·y, so that the mean is over the relevant
    documents of all queries. A document that is not retrieved has the rank N + 1, below all N of the query. Labels
    below 0 count as 0. A query without relevance is always skipped, and `empty_queries` can only be `skip`.

    Source: Zhu, "Recall, precision and average precision" (2004), as in TF-Ranking.
    """
    docs = ranked_documents(
        labels, scores, mask, item_weight, ties, rank_fn, relevance=lambda docs: docs.weight * docs.labels
    )

    def capped(rank: Tensor) -> Tensor:
        return rank if topn is None else ops.minimum(rank, topn + 1.0)

    below_all = row_sum(ops.cast(docs.valid, docs.weight.dtype))[:, None] + 1.0
    positions = ops.where(docs.retrieved, docs.at_rank(capped), capped(below_all))
    relevance = docs.weight * ops.where(docs.labels > 0, docs.labels, 0.0)
    weight = row_sum(relevance)
    return safe_divide(row_sum(relevance * positions), weight), weight
