"""The metric `err`."""

from __future__ import annotations

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import Positive, PositiveInt, checked
from ml4ir_losses.core.registry import register_metric
from ml4ir_losses.metrics.base import EmptyQueries, Values, ranked_documents, up_to, weighted_values
from ml4ir_losses.metrics.ties import Ties
from ml4ir_losses.ops import row_sum
from ml4ir_losses.ops.gains import inverse, pow2_minus_1


@register_metric("err")
@checked
def expected_reciprocal_rank(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    topn: PositiveInt | None = None,
    ties: Ties = "average",
    max_grade: Positive = 4.0,
    empty_queries: EmptyQueries = "skip",
) -> Values:
    r"""Expected reciprocal rank at which a user who reads from the top is satisfied.

    $$\sum_{r \le n} \frac{1}{r}\,R_r \prod_{q < r} (1 - R_q),\quad R = \frac{2^y - 1}{2^{y_{max}}}$$
    where R is the probability that a document of label y satisfies the user.

    Labels below 0 count as 0, and above `max_grade` as that. A query without a label above 0 is empty. With `ties:
    average` a step for each document of the largest group of equal scores.

    Args:
        max_grade: the highest grade of the scale of labels, y_max; not the highest label of a query or batch.

    Source: Chapelle et al., "Expected reciprocal rank for graded relevance" (2009).
    """
    docs = ranked_documents(labels, scores, mask, item_weight, ties)
    satisfied = pow2_minus_1(ops.clip(docs.labels, 0.0, max_grade)) * 2.0**-max_grade
    found = docs.groups.cascade(satisfied, 1.0 - satisfied)
    return weighted_values(docs, row_sum(found * docs.at_place(up_to(topn, inverse))), satisfied, empty_queries)
