"""Ranking metrics as pure functions: `fn(labels, scores, mask, *, item_weight=None, ...) -> (values, weights)`.

`values` [B] holds the metric of each query, `weights` [B] the weight with which it enters the mean over queries:
Σ values·weights / Σ weights. Shared arguments:

    labels: [B, N]. The binary metrics call a document relevant if its label is at least `relevance_threshold`.
    scores: [B, N], ranked from high to low; ties keep their order, NaN comes last.
    mask: [B, N], 1 = document, 0 = padding, whose labels, scores and weights never count. None: no padding.
    item_weight: [B, N]. Weight 0 takes the document out of the ranking, those below move up.
    topn: the ranks that count; None: all.
    relevance_threshold: the lowest label that is relevant.
    rank_fn: makes the metric smooth, see `ml4ir_losses.ops.soft_ranks`. None: exact ranks, no gradient.
    empty_queries: what a query without anything relevant is worth. `skip`: it does not count (weight 0);
        `zero`, `one`: it counts with that value. A query that is all padding never counts.

A query weighs Σ w·R / ΣR, with R the relevance that the metric measures (0 or 1, or the gain), and if it has none,
as much as its documents on average. Average relevance position and ordered pair accuracy are means over documents
and pairs instead: they weigh Σ w·y and Σ w over the pairs. All functions raise `ValueError` for a parameter value
that is not allowed. They follow TF-Ranking 0.5.5, but for its random ties and the weights that depended on the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple

import numpy as np

from ml4ir_losses.core.lazy import Tensor, keras, ops
from ml4ir_losses.core.parameters import Allowed, PositiveInt, checked
from ml4ir_losses.core.registry import register_metric
from ml4ir_losses.metrics.pair_counts import ordered_pair_counts
from ml4ir_losses.ops import (
    clean,
    descending_order,
    gather_documents,
    list_weight,
    rank_table,
    ranks,
    row_sum,
    safe_divide,
)
from ml4ir_losses.ops.gains import DiscountSpec, GainSpec, get_discount, inverse, label_gain, relative_gain
from ml4ir_losses.ops.soft_ranks import AtRank, RankFn

EmptyQueries = Literal["skip", "zero", "one"]
OnlySkip = Annotated[
    Literal["skip"], Allowed("skip for 'arp', as a query without relevance has no position to average")
]
LOWER_IS_BETTER = frozenset({"arp"})

Values = tuple[Tensor, Tensor]


@register_metric("ndcg")
@checked
def ndcg(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    topn: PositiveInt | None = None,
    gain: GainSpec = "pow2_minus_1",
    discount: DiscountSpec = "log2_inverse",
    empty_queries: EmptyQueries = "skip",
    rank_fn: RankFn | None = None,
) -> Values:
    r"""Normalised discounted cumulative gain: the DCG over that of the best order, from 0 to 1.

    $$\frac{\sum_{r \le n} w_r\,g(y_r)\,D(r)}{\sum_{r \le n} w_{\pi(r)}\,g(y_{\pi(r)})\,D(r)}$$
    with π the order of w·g, highest first. Finite for labels of any size. Empty: no document has a gain above 0.

    Args:
        gain: `identity`, `pow2_minus_1` (2^y - 1), or a function of the labels; gains below 0 count as 0.
        discount: `log2_inverse` (1 / log2(1 + r)), `inverse_log1p`, `inverse`, or a function of 1-based ranks.

    Source: Järvelin, Kekäläinen, "Cumulated gain-based evaluation of IR techniques" (2002).
    """
    docs = _documents(labels, scores, mask, item_weight, rank_fn)
    gains = relative_gain(docs.labels, docs.valid, gain)
    weighted = docs.weight * gains
    discounts = _in_top(get_discount(discount), topn)
    best = ops.flip(ops.sort(weighted, axis=-1), axis=-1) * discounts(rank_table(weighted))
    value = safe_divide(row_sum(weighted * docs.at_rank(discounts)), row_sum(best))
    return _finish(docs, value, gains, empty_queries)


@register_metric("dcg")
@checked
def dcg(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    topn: PositiveInt | None = None,
    gain: GainSpec = "pow2_minus_1",
    discount: DiscountSpec = "log2_inverse",
    empty_queries: EmptyQueries = "skip",
    rank_fn: RankFn | None = None,
) -> Values:
    r"""Discounted cumulative gain, at least 0, without an upper bound.

    $$\frac{1}{\omega}\sum_{r \le n} w_r\,g(y_r)\,D(r),\quad \omega = \frac{\sum_i w_i\,g(y_i)}{\sum_i g(y_i)}$$

    Empty: no document has a gain above 0. A label above the gain's highest one (100 for `pow2_minus_1`, whose gain
    float32 still holds) counts as that one; `ops.gains.check_labels_fit_gain` reports such data.

    Args:
        gain: `identity`, `pow2_minus_1` (2^y - 1), or a function of the labels; gains below 0 count as 0.
        discount: `log2_inverse` (1 / log2(1 + r)), `inverse_log1p`, `inverse`, or a function of 1-based ranks.

    Source: Järvelin, Kekäläinen, "Cumulated gain-based evaluation of IR techniques" (2002).
    """
    docs = _documents(labels, scores, mask, item_weight, rank_fn)
    gains = label_gain(docs.labels, docs.valid, gain)
    discounts = docs.at_rank(_in_top(get_discount(discount), topn))
    relative = relative_gain(docs.labels, docs.valid, gain)
    omega = list_weight(relative, docs.valid, docs.weight)
    value = row_sum(safe_divide(docs.weight, omega[:, None] * ops.ones_like(gains)) * gains * discounts)
    return _finish(docs, value, relative, empty_queries)


@register_metric("mrr")
@checked
def mrr(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    topn: PositiveInt | None = None,
    relevance_threshold: float = 1.0,
    empty_queries: EmptyQueries = "skip",
    rank_fn: RankFn | None = None,
) -> Values:
    r"""Reciprocal rank of the first relevant document, 0 if none is in the top n.

    $$\max_{r \le n} rel_r / r$$

    Source: Voorhees, "The TREC-8 question answering track report" (1999).
    """
    docs = _documents(labels, scores, mask, item_weight, rank_fn)
    relevant = docs.relevant(relevance_threshold)
    value = ops.max(relevant * docs.at_rank(_in_top(inverse, topn)), axis=-1)
    return _finish(docs, value, relevant, empty_queries)


@register_metric("map")
@checked
def mean_average_precision(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    topn: PositiveInt | None = None,
    relevance_threshold: float = 1.0,
    empty_queries: EmptyQueries = "skip",
) -> Values:
    r"""Average precision: the mean of the precision at each relevant document, 0 for those below the top n.

    $$\frac{\sum_{r \le n} w_r\,rel_r\,P@r}{\sum_i w_i\,rel_i}$$ The denominator runs over the whole list, as trec's
    `map_cut`.

    Source: Harman, "Overview of the first TREC conference" (1993).
    """
    docs = _documents(labels, scores, mask, item_weight)
    relevant = docs.relevant(relevance_threshold)
    precision_at = ops.cumsum(relevant, axis=-1) / docs.at_rank(lambda rank: rank)
    weighted = docs.weight * relevant
    value = safe_divide(row_sum(docs.top(weighted * precision_at, topn)), row_sum(weighted))
    return _finish(docs, value, relevant, empty_queries)


@register_metric("precision")
@checked
def precision(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    topn: PositiveInt | None = None,
    relevance_threshold: float = 1.0,
    denominator: Literal["retrieved", "topn"] = "retrieved",
    empty_queries: EmptyQueries = "skip",
) -> Values:
    r"""Share of the top n that is relevant.

    $$\frac{\sum_{r \le n} rel_r}{\min(n, |documents|)}$$

    Args:
        denominator: `retrieved` divides by min(n, number of documents); `topn` by n, as trec does, so that a list
            shorter than n is marked down. Without `topn` both are the number of documents.

    Source: Manning, Raghavan, Schütze, "Introduction to information retrieval", 8.4 (2008).
    """
    docs = _documents(labels, scores, mask, item_weight)
    relevant = docs.relevant(relevance_threshold)
    found, size = row_sum(docs.top(relevant, topn)), row_sum(docs.top(ops.cast(docs.valid, relevant.dtype), topn))
    if denominator == "topn" and topn is not None:
        size = ops.full_like(size, topn)
    return _finish(docs, safe_divide(found, size), relevant, empty_queries)


@register_metric("recall")
@checked
def recall(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    topn: PositiveInt | None = None,
    relevance_threshold: float = 1.0,
    empty_queries: EmptyQueries = "skip",
) -> Values:
    r"""Share of the relevant documents that is in the top n.

    $$\frac{\sum_{r \le n} rel_r}{\sum_r rel_r}$$

    Source: Manning, Raghavan, Schütze, "Introduction to information retrieval", 8.4 (2008).
    """
    docs = _documents(labels, scores, mask, item_weight)
    relevant = docs.relevant(relevance_threshold)
    value = safe_divide(row_sum(docs.top(relevant, topn)), row_sum(relevant))
    return _finish(docs, value, relevant, empty_queries)


@register_metric("hits")
@checked
def hits(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    topn: PositiveInt | None = None,
    relevance_threshold: float = 1.0,
    empty_queries: EmptyQueries = "skip",
) -> Values:
    r"""1 if a relevant document is in the top n, else 0 (hit rate, success at n).

    $$\max_{r \le n} rel_r$$

    Source: Deshpande, Karypis, "Item-based top-N recommendation algorithms" (2004).
    """
    docs = _documents(labels, scores, mask, item_weight)
    relevant = docs.relevant(relevance_threshold)
    value = ops.max(docs.top(relevant, topn), axis=-1)
    return _finish(docs, value, relevant, empty_queries)


@register_metric("arp")
@checked
def arp(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    topn: PositiveInt | None = None,
    empty_queries: OnlySkip = "skip",
    rank_fn: RankFn | None = None,
) -> Values:
    r"""Average relevance position: the label-weighted mean rank; lower is better.

    $$\frac{\sum_i w_i\,y_i \min(r_i, n+1)}{\sum_i w_i\,y_i}$$

    With `topn`, all ranks below the top n are the rank n + 1: a mean over the top n alone would reward a model that
    pushes relevant documents out of it. A query weighs Σ w·y, so that the mean runs over all relevant documents of
    all queries. Labels below 0 count as 0. A query without relevance has no position: it is always skipped, and
    `empty_queries` may only be `skip`.

    Source: Zhu, "Recall, precision and average precision" (2004), as in TF-Ranking.
    """
    docs = _documents(labels, scores, mask, item_weight, rank_fn)
    positions = docs.at_rank(lambda rank: rank if topn is None else ops.minimum(rank, topn + 1.0))
    relevance = docs.weight * ops.where(docs.labels > 0, docs.labels, 0.0)
    weight = row_sum(relevance)
    return safe_divide(row_sum(relevance * positions), weight), weight


@register_metric("ordered_pair_accuracy")
@checked
def ordered_pair_accuracy(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    topn: PositiveInt | None = None,
    empty_queries: EmptyQueries = "skip",
) -> Values:
    r"""Share of the document pairs of different labels whose scores are in the order of the labels.

    $$\frac{\sum_{y_i > y_j} w_i\,[s_i > s_j]}{\sum_{y_i > y_j} w_i}$$

    Equal scores are wrong. With `topn`, only pairs with a document in the top n count. A query weighs Σ w over its
    pairs, so that the mean runs over all pairs of all queries. Empty: no pair; with `zero` or `one` such a query
    counts as one pair of its documents' mean weight. Memory: that of a stripe of pairs.

    Source: Herbrich, Graepel, Obermayer, "Large margin rank boundaries for ordinal regression" (2000), as in
    TF-Ranking.
    """
    labels, scores, weight, valid = _cleaned(labels, scores, mask, item_weight)
    in_top = None if topn is None else ranks(scores, valid) <= topn
    counts = ordered_pair_counts(labels, scores, valid, in_top)
    total, correct = (row_sum(weight * count) for count in counts)
    mean_weight = list_weight(ops.zeros_like(labels), valid, weight)
    return _apply_policy(safe_divide(correct, total), total, total > 0, mean_weight, empty_queries)


class _Documents(NamedTuple):
    """The documents of each query, [B, N], 0 where not valid: in the order of their ranks, but for smooth ranks."""

    labels: Tensor
    weight: Tensor
    valid: Tensor
    at_rank: AtRank

    def relevant(self, threshold: float) -> Tensor:
        """1 for the relevant documents, else 0."""
        return ops.cast(ops.logical_and(self.valid, self.labels >= threshold), self.labels.dtype)

    def top(self, x: Tensor, topn: int | None) -> Tensor:
        """x where the rank is up to topn, else 0."""
        return x * self.at_rank(_in_top(ops.ones_like, topn))


def _cleaned(
    labels: Tensor, scores: Tensor, mask: Tensor | None, item_weight: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Labels, scores, weights and the documents that are ranked: valid, with a weight above 0."""
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight)
    valid = ops.logical_and(mask, weight > 0)
    # The sort puts infinities among the padding; a NaN fails the comparison too, and so is ranked last.
    low = float(np.finfo(keras.backend.standardize_dtype(scores.dtype)).min)
    scores = ops.where(scores > low, scores, low)
    return ops.where(valid, labels, 0.0), scores, ops.where(valid, weight, 0.0), valid


def _documents(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None,
    item_weight: Tensor | None,
    rank_fn: RankFn | None = None,
) -> _Documents:
    labels, scores, weight, valid = _cleaned(labels, scores, mask, item_weight)
    if rank_fn is not None:
        return _Documents(labels, weight, valid, rank_fn(scores, valid))
    order, rank = descending_order(scores, valid), rank_table(scores)
    valid = ops.arange(ops.shape(scores)[1]) < row_sum(ops.cast(valid, "int32"))[:, None]
    weight = gather_documents(weight, order) if item_weight is not None else ops.cast(valid, weight.dtype)
    return _Documents(gather_documents(labels, order), weight, valid, lambda function: function(rank))


def _in_top(function: Callable[[Tensor], Tensor], topn: int | None) -> Callable[[Tensor], Tensor]:
    """The function at the ranks up to topn, else 0; smooth ranks near topn count as topn."""
    if topn is None:
        return function
    return lambda rank: ops.where(rank < topn + 0.5, function(rank), 0.0)


def _finish(docs: _Documents, value: Tensor, relevance: Tensor, empty_queries: str) -> Values:
    """The values under the policy for queries without relevance, with their weights Σ w·R / ΣR."""
    weight = list_weight(relevance, docs.valid, docs.weight)
    return _apply_policy(value, weight, ops.any(relevance > 0, axis=-1), weight, empty_queries)


def _apply_policy(value: Tensor, weight: Tensor, counts: Tensor, empty_weight: Tensor, empty_queries: str) -> Values:
    """Sets value and weight of the rows that do not count; all-padding rows have an `empty_weight` of 0."""
    if empty_queries == "skip":
        return ops.where(counts, value, 0.0), ops.where(counts, weight, 0.0)
    worth = ops.where(empty_weight > 0, 1.0 if empty_queries == "one" else 0.0, 0.0)
    return ops.where(counts, value, ops.cast(worth, value.dtype)), ops.where(counts, weight, empty_weight)
