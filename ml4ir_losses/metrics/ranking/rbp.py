"""The metric `rbp`."""

from __future__ import annotations

from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.core.parameters import Fraction, PositiveInt, checked
from ml4ir_losses.core.registry import register_metric
from ml4ir_losses.metrics.base import EmptyQueries, Values, ranked_documents, up_to, weighted_values
from ml4ir_losses.metrics.ties import Ties
from ml4ir_losses.ops import row_sum
from ml4ir_losses.ops.soft_ranks import RankFn


@register_metric("rbp")
@checked
def rank_biased_precision(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    topn: PositiveInt | None = None,
    ties: Ties = "average",
    p: Fraction = 0.8,
    relevance_threshold: float = 1.0,
    empty_queries: EmptyQueries = "skip",
    rank_fn: RankFn | None = None,
) -> Values:
    r"""Rank-biased precision: the share of relevant documents among those that a patient user reads.

    $$(1 - p) \sum_{r \le n} rel_r\,p^{r - 1}$$

    A user goes on to the next rank with the probability p, at the end of the list too: a list that ends is worth less
    than 1.

    Args:
        p: the persistence of the user; 1 / (1 - p) documents are read on average.

    Source: Moffat, Zobel, "Rank-biased precision for measurement of retrieval effectiveness" (2008).
    """
    docs = ranked_documents(labels, scores, mask, item_weight, ties, rank_fn)
    relevant = docs.relevant(relevance_threshold)
    read = docs.at_rank(up_to(topn, lambda rank: (1.0 - p) * p ** (rank - 1.0)))
    return weighted_values(docs, row_sum(relevant * read), relevant, empty_queries)
