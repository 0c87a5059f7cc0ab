"""Metrics of diversity, over the subtopics of a query: `alpha_dcg` and `precision_ia`."""

from __future__ import annotations

from typing import Annotated, Literal

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import Allowed, Fraction, PositiveInt, checked
from ml4ir_losses.core.registry import register_metric
from ml4ir_losses.metrics.base import EmptyQueries, Values, ranked_documents, up_to, weighted_values
from ml4ir_losses.metrics.ties import Ties
from ml4ir_losses.ops import list_weight, row_sum, safe_divide
from ml4ir_losses.ops.gains import DiscountSpec, get_discount

AverageOrOrder = Annotated[
    Literal["average", "order"], Allowed("average or order for 'alpha_dcg', whose worst order takes too long to find")
]


@register_metric("alpha_dcg", subtopics=True)
@checked
def alpha_dcg(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    topn: PositiveInt | None = None,
    ties: AverageOrOrder = "average",
    alpha: Fraction = 0.5,
    discount: DiscountSpec = "log2_inverse",
    empty_queries: EmptyQueries = "skip",
) -> Values:
    r"""Discounted cumulative gain in which a subtopic gains less each time that it was covered at a higher rank.

    $$\frac{1}{\omega}\sum_{r \le n} w_r\,D(r) \sum_t y_{rt}\,(1 - \alpha)^{\sum_{q < r} y_{qt}}$$
    where ω is the mean item weight of the documents with a label above 0.

    Labels [B, N, S]: y_rt, 1 if the document at rank r covers subtopic t, else 0. Negative labels count as 0, so that
    queries with fewer subtopics can be padded. A query without a label above 0 is empty. Not normalised.

    Args:
        alpha: α, the probability that a document that covers a subtopic answers it. 0: repetition costs nothing.
        discount: `log2_inverse` (1 / log2(1 + r)), `inverse_log1p`, `inverse`, or a function of 1-based ranks.

    With `ties: average` a step for each document of the largest group of equal scores. The order of the lowest value is
    not known without trying all, so that `ties` cannot be `worst`.

    Source: Clarke et al., "Novelty and diversity in information retrieval evaluation" (2008).
    """
    docs = ranked_documents(labels, scores, mask, item_weight, ties)
    covers = ops.where(docs.labels > 0, docs.labels, 0.0)
    gains = row_sum(docs.groups.cascade(docs.weight[..., None] * covers, ops.power(1.0 - alpha, covers)))
    relevance = ops.cast(ops.any(covers > 0, axis=-1), gains.dtype)
    total = row_sum(gains * docs.at_place(up_to(topn, get_discount(discount))))
    value = safe_divide(total, list_weight(relevance, docs.valid, docs.weight))
    return weighted_values(docs, value, relevance, empty_queries)


@register_metric("precision_ia", subtopics=True)
@checked
def precision_ia(
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
    r"""Intent-aware precision: the mean, over the subtopics of the query, of the precision for the subtopic.

    $$\frac{1}{|T|} \sum_{t \in T} \frac{\sum_{r \le n} rel_{rt}}{\min(n, |documents|)}$$
    where T are the subtopics with a relevant document.

    Labels [B, N, S]: a document is relevant to subtopic t if its label y_t is at least `relevance_threshold`.

    Source: Agrawal et al., "Diversifying search results" (2009); Clarke, Craswell, Soboroff, "Overview of the TREC
    2009 web track" (2009).
    """
    docs = ranked_documents(
        labels,
        scores,
        mask,
        item_weight,
        ties,
        relevance=lambda docs: row_sum(ops.cast(docs.labels >= relevance_threshold, docs.weight.dtype)),
    )
    relevant = docs.relevant(relevance_threshold)
    subtopics = row_sum(ops.max(relevant, axis=1))
    size = row_sum(docs.top(ops.cast(docs.valid, relevant.dtype), topn))
    value = safe_divide(row_sum(docs.top(row_sum(relevant), topn)), size * subtopics)
    return weighted_values(docs, value, ops.max(relevant, axis=-1), empty_queries)
