"""The metric `bpref`."""

from __future__ import annotations

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import PositiveInt, checked
from ml4ir_losses.core.registry import register_metric
from ml4ir_losses.metrics.base import Documents, EmptyQueries, Values, ranked_documents, weighted_values
from ml4ir_losses.metrics.ties import Tied, Ties, shifted
from ml4ir_losses.ops import row_sum, safe_divide
from ml4ir_losses.ops.backend import loop


@register_metric("bpref")
@checked
def bpref(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    topn: PositiveInt | None = None,
    ties: Ties = "average",
    relevance_threshold: float = 1.0,
    use_trec_version: bool = True,
    empty_queries: EmptyQueries = "skip",
) -> Values:
    r"""Binary preference: 1 minus the share of irrelevant documents above a relevant one, on average.

    $$\frac{1}{R} \sum_{r \le n} rel_r \Big(1 - \frac{\min(N_r, R)}{\min(R, N)}\Big)$$
    with R relevant and N irrelevant documents, of which N_r are above rank r.

    For incomplete judgments: documents without a judgment must be padding (a label below `min_label`, or masked).

    Args:
        use_trec_version: divide by min(R, N), as trec_eval does; if false by R, as in the paper of 2004.

    Source: Buckley, Voorhees, "Retrieval evaluation with incomplete information" (2004).
    """
    docs = ranked_documents(labels, scores, mask, item_weight, ties)
    relevant = docs.relevant(relevance_threshold)
    irrelevant = ops.cast(docs.valid, relevant.dtype) - relevant
    number_relevant = row_sum(relevant)[:, None]
    divisor = ops.minimum(number_relevant, row_sum(irrelevant)[:, None]) if use_trec_version else number_relevant
    above = _capped_above(docs, irrelevant, number_relevant, topn)
    preference = docs.top(ops.ones_like(above), topn) - safe_divide(above, divisor * ops.ones_like(above))
    value = safe_divide(row_sum(ops.where(docs.retrieved, relevant * preference, 0.0)), number_relevant[:, 0])
    return weighted_values(docs, value, relevant, empty_queries)


def _capped_above(docs: Documents, irrelevant: Tensor, cap: Tensor, topn: int | None) -> Tensor:
    """The expected min(number of irrelevant documents above, cap) of a relevant document, [B, N]; `cap` [B, 1].

    Where the document is below the top n, the number counts as 0.
    """
    groups = docs.groups
    above, tied = groups.above(irrelevant), groups.total(irrelevant)
    # 0 to `tied` of the irrelevant documents of the group are above it, with equal probability.
    low, growing = ops.minimum(above, cap), ops.clip(cap - above, 0.0, tied)
    expected = low + growing * (tied - 0.5 * (growing - 1.0)) / (tied + 1.0)
    if topn is None:
        return expected
    end = groups.start + groups.size
    if isinstance(groups, Tied):
        expected = ops.where(end > topn, _capped_above_in_top(docs, groups, above, tied, cap, topn), expected)
    return ops.where(groups.start < topn, expected, 0.0)


def _capped_above_in_top(docs: Documents, groups: Tied, above: Tensor, tied: Tensor, cap: Tensor, topn: int) -> Tensor:
    """As above, [B, 1], for the group that the cutoff divides; as many steps as it has places above the cutoff."""
    start, size, above, tied = (x[:, :topn][:, -1:] for x in (groups.start, groups.size, above, tied))
    places = ops.where(start + size > topn, topn - start, 0.0)
    count = docs.rank[:topn] - 1.0
    capped = ops.minimum(above + count, cap)

    def step(index: Tensor, chances: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
        """`chances`: of each number of irrelevant documents at the first `index` places of the group."""
        index = ops.cast(index, chances.dtype)
        total = total + ops.where(index < places, ops.sum(chances * capped, axis=1, keepdims=True), 0.0)
        more = chances * ops.clip((tied - count) / ops.maximum(size - 1.0 - index, 1.0), 0.0, 1.0)
        return chances - more + shifted(more), total

    none = ops.cast(count == 0, capped.dtype) * ops.ones_like(capped)
    _, total = loop(step, 0, ops.cast(ops.max(places), "int32"), (none, ops.zeros_like(places)))
    return total / size
