"""Cumulated gain: the metrics `ndcg` and `dcg`."""

from __future__ import annotations

from collections.abc import Callable

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import PositiveInt, checked
from ml4ir_losses.core.registry import register_metric
from ml4ir_losses.metrics.base import EmptyQueries, Values, ranked_documents, up_to, weighted_values
from ml4ir_losses.metrics.ties import Ties
from ml4ir_losses.ops import list_weight, rank_table, row_sum, safe_divide
from ml4ir_losses.ops.gains import DiscountSpec, GainSpec, get_discount, label_gain, relative_gain
from ml4ir_losses.ops.masking import Cleaned
from ml4ir_losses.ops.soft_ranks import RankFn


@register_metric("ndcg")
@checked
def ndcg(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    topn: PositiveInt | None = None,
    ties: Ties = "average",
    gain: GainSpec = "pow2_minus_1",
    discount: DiscountSpec = "log2_inverse",
    empty_queries: EmptyQueries = "skip",
    rank_fn: RankFn | None = None,
) -> Values:
    r"""Normalised discounted cumulative gain: the DCG divided by the DCG of the ideal ranking, from 0 to 1.

    $$\frac{\sum_{r \le n} w_r\,g(y_r)\,D(r)}{\sum_{r \le n} w_{\pi(r)}\,g(y_{\pi(r)})\,D(r)}$$
    where π ranks by w·g, highest first. Finite for labels of any size. A query without a gain above 0 is empty.

    Args:
        gain: `identity`, `pow2_minus_1` (2^y - 1), or a function of the labels; gains below 0 count as 0.
        discount: `log2_inverse` (1 / log2(1 + r)), `inverse_log1p`, `inverse`, or a function of 1-based ranks.

    Source: Järvelin, Kekäläinen, "Cumulated gain-based evaluation of IR techniques" (2002).
    """
    docs = ranked_documents(labels, scores, mask, item_weight, ties, rank_fn, _weighted_gain(gain))
    gains = relative_gain(docs.labels, docs.valid, gain)
    weighted = docs.weight * gains
    discounts = up_to(topn, get_discount(discount))
    ideal = ops.flip(ops.sort(weighted, axis=-1), axis=-1) * discounts(rank_table(weighted))
    value = safe_divide(row_sum(weighted * docs.at_rank(discounts)), row_sum(ideal))
    return weighted_values(docs, value, gains, empty_queries)


@register_metric("dcg")
@checked
def dcg(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    topn: PositiveInt | None = None,
    ties: Ties = "average",
    gain: GainSpec = "pow2_minus_1",
    discount: DiscountSpec = "log2_inverse",
    empty_queries: EmptyQueries = "skip",
    rank_fn: RankFn | None = None,
) -> Values:
    r"""Discounted cumulative gain: at least 0, without an upper bound.

    $$\frac{1}{\omega}\sum_{r \le n} w_r\,g(y_r)\,D(r),\quad \omega = \frac{\sum_i w_i\,g(y_i)}{\sum_i g(y_i)}$$

    A query without a gain above 0 is empty. The gain of large labels would overflow float32: labels above a limit
    (100 for `pow2_minus_1`) count as the limit, and training from a config refuses such data.

    Args:
        gain: `identity`, `pow2_minus_1` (2^y - 1), or a function of the labels; gains below 0 count as 0.
        discount: `log2_inverse` (1 / log2(1 + r)), `inverse_log1p`, `inverse`, or a function of 1-based ranks.

    Source: Järvelin, Kekäläinen, "Cumulated gain-based evaluation of IR techniques" (2002).
    """
    docs = ranked_documents(labels, scores, mask, item_weight, ties, rank_fn, _weighted_gain(gain))
    gains = label_gain(docs.labels, docs.valid, gain)
    discounts = docs.at_rank(up_to(topn, get_discount(discount)))
    relative = relative_gain(docs.labels, docs.valid, gain)
    omega = list_weight(relative, docs.valid, docs.weight)
    value = row_sum(safe_divide(docs.weight, omega[:, None] * ops.ones_like(gains)) * gains * discounts)
    return weighted_values(docs, value, relative, empty_queries)


def _weighted_gain(gain: GainSpec) -> Callable[[Cleaned], Tensor]:
    return lambda docs: docs.weight * relative_gain(docs.labels, docs.mask, gain)
