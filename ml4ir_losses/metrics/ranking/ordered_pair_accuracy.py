"""The metric `ordered_pair_accuracy`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import PositiveInt, checked
from ml4ir_losses.core.registry import register_metric
from ml4ir_losses.metrics.base import Documents, EmptyQueries, Values, fill_empty_queries, ranked_documents, up_to
from ml4ir_losses.metrics.ties import Ties
from ml4ir_losses.ops import list_weight, row_sum, safe_divide
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
    ties: Ties = "average",
    empty_queries: EmptyQueries = "skip",
) -> Values:
    r"""Share of the document pairs of different labels whose scores are in the order of the labels.

    $$\frac{\sum_{y_i > y_j} w_i\,[s_i > s_j]}{\sum_{y_i > y_j} w_i}$$

    A pair with equal scores counts as half correct, with `ties: worst` as wrong, with `order` in the given order. Pairs
    of documents that are both not retrieved are wrong. With `topn`, only pairs with a document in the top n count;
    among equal scores, with the probability of that, and `worst` ranks by ascending label. The weight of a query is
    Σ w over its pairs, so that the mean is over the pairs of all queries. A query without pairs is empty; with `zero`
    or `one` it counts as one pair, with the mean weight of its documents. Memory B·N and a stripe of pairs.

    Source: Herbrich, Graepel, Obermayer, "Large margin rank boundaries for ordinal regression" (2000), as in
    TF-Ranking.
    """
    docs = ranked_documents(labels, scores, mask, item_weight, ties)
    counts = _pair_counts(docs, topn)
    total, correct = (row_sum(docs.weight * count) for count in counts)
    mean_weight = list_weight(ops.zeros_like(docs.labels), docs.valid, docs.weight)
    return fill_empty_queries(safe_divide(correct, total), total, total > 0, mean_weight, empty_queries)


def _pair_counts(docs: Documents, topn: int | None) -> tuple[Tensor, Tensor]:
    """Σ_j [y_i > y_j] and Σ_j [y_i > y_j][i is above j] of each document i, both [B, N]; no gradient."""
    start, size = docs.groups.start, docs.groups.size
    fields = [
        ops.where(docs.valid, docs.labels, float("nan")),
        ops.where(docs.retrieved, -start, -float("inf")),
    ]
    if topn is not None:
        below = size - ops.clip(topn - start, 0.0, size)
        both_below = below * (below - 1.0) / ops.maximum(size * (size - 1.0), 1.0)
        fields += [docs.at_rank(up_to(topn, ops.ones_like)), ops.where(docs.retrieved, 1.0 - both_below, 0.0)]
    fields = [ops.stop_gradient(field) for field in fields]
    pairs, correct = stripe_sums(_Ordered(topn is not None), (2, 0), fields, fields, extents_of(docs.valid))
    return pairs, correct


@dataclass(frozen=True)
class _Ordered(Stripe):
    """For each document: how many have a lower label, and how many of those are below it, equal ones as half.

    Documents have a label and a height, a whole number, or -inf where not retrieved. If truncated, also the probability
    to be in the top n, and that of a pair of the same height to have a document there.
    """

    truncated: bool

    def __call__(
        self, rows: Sequence[Tensor], columns: Sequence[Tensor], at_distance: Tensor | None
    ) -> tuple[tuple[Tensor, Tensor], tuple[()]]:
        (label, height, *top), (other, other_height, *other_top) = rows, columns
        pairs, ahead = _above(label, other), height - other_height
        if self.truncated:
            tied = 1.0 - without_nan(ops.minimum(ops.abs(ahead), 1.0), ahead)
            pairs = pairs * without_nan(tied * top[1] + (1.0 - tied) * ops.maximum(top[0], other_top[0]))
        return (row_sum(pairs), row_sum(pairs * without_nan(ops.clip(0.5 + ahead, 0.0, 1.0), ahead))), ()


def _above(x: Tensor, y: Tensor) -> Tensor:
    """1 where x > y, else 0, also where one of them is NaN."""
    if has_slow_selects():
        return without_nan(ops.relu(ops.sign(x - y)))
    return ops.cast(x > y, x.dtype)
