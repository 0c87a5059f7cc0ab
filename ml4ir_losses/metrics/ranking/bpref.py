"""The metric `bpref`."""

from __future__ import annotations

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import PositiveInt, checked
from ml4ir_losses.core.registry import register_metric
from ml4ir_losses.metrics.base import EmptyQueries, Values, ranked_documents, weighted_values
from ml4ir_losses.ops import row_sum, safe_divide


@register_metric("bpref")
@checked
def bpref(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    topn: PositiveInt | None = None,
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
    docs = ranked_documents(labels, scores, mask, item_weight)
    relevant = docs.relevant(relevance_threshold)
    irrelevant = ops.cast(docs.valid, relevant.dtype) - relevant
    number_relevant = row_sum(relevant)[:, None]
    divisor = ops.minimum(number_relevant, row_sum(irrelevant)[:, None]) if use_trec_version else number_relevant
    above = ops.minimum(ops.cumsum(irrelevant, axis=-1), number_relevant)
    preference = 1.0 - safe_divide(above, divisor * ops.ones_like(above))
    value = safe_divide(row_sum(docs.top(relevant * preference, topn)), number_relevant[:, 0])
    return weighted_values(docs, value, relevant, empty_queries)
