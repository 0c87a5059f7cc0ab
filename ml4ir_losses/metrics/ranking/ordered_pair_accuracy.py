"""The metric `ordered_pair_accuracy`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import PositiveInt, checked
from ml4ir_losses.core.registry import register_metric
from ml4ir_losses.metrics.base import EmptyQueries, Values, clean_documents, fill_empty_queries, is_retrieved
from ml4ir_losses.ops import list_weight, ranks, row_sum, safe_divide
from ml4ir_losses.ops.backend import has_slow_selects
from ml4ir_losses.ops.kernels.stripes import Stripe, extents_of, stripe_sums
from ml4ir_losses.ops.masking import without_nan


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

    Pairs with equal scores are wrong, and so are pairs of documents that are both not retrieved. With `topn`, only
    pairs with a document in the top n count. The weight of a query is Σ w over its pairs, so that the mean is over the
    pairs of all queries. A query without pairs is empty; with `zero` or `one` it counts as one pair, with the mean
    weight of its documents. Memory B·N and a stripe of pairs.

    Source: Herbrich, Graepel, Obermayer, "Large margin rank boundaries for ordinal regression" (2000), as in
    TF-Ranking.
    """
    labels, scores, valid, weight = clean_documents(labels, scores, mask, item_weight)
    in_top = None
    if topn is not None:
        in_top = ops.logical_and(ranks(scores, valid) <= topn, is_retrieved(scores, valid))
    counts = ordered_pair_counts(labels, scores, valid, in_top)
    total, correct = (row_sum(weight * count) for count in counts)
    mean_weight = list_weight(ops.zeros_like(labels), valid, weight)
    return fill_empty_queries(safe_divide(correct, total), total, total > 0, mean_weight, empty_queries)


@dataclass(frozen=True)
class _Ordered(Stripe):
    """For each document: how many have a lower label, and how many of those a lower score."""

    truncated: bool

    def __call__(
        self, rows: Sequence[Tensor], columns: Sequence[Tensor], at_distance: Tensor | None
    ) -> tuple[tuple[Tensor, Tensor], tuple[()]]:
        (label, score, *top), (other, other_score, *other_top) = rows, columns
        pairs = _above(label, other)
        if self.truncated:
            pairs = pairs * _above(top[0] + other_top[0], 0.0)
        return (row_sum(pairs), row_sum(pairs * _above(score, other_score))), ()


def _above(x: Tensor, y: Tensor | float) -> Tensor:
    """1 where x > y, else 0, also where one of them is NaN."""
    if has_slow_selects():
        return without_nan(ops.relu(ops.sign(x - y)))
    return ops.cast(x > y, x.dtype)


def ordered_pair_counts(
    labels: Tensor, scores: Tensor, valid: Tensor, in_top: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Σ_j [y_i > y_j] and Σ_j [y_i > y_j][s_i > s_j] of each document i, both [B, N]; no gradient.

    With `in_top` [B, N], pairs without a document in it do not count.
    """
    fields = [ops.where(valid, labels, float("nan")), scores]
    if in_top is not None:
        fields.append(ops.cast(in_top, scores.dtype))
    fields = [ops.stop_gradient(field) for field in fields]
    pairs, correct = stripe_sums(_Ordered(in_top is not None), (2, 0), fields, fields, extents_of(valid))
    return pairs, correct
