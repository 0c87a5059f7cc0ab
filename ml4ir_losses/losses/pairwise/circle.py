"""Circle loss."""

from __future__ import annotations

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import NonNegative, Positive
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.losses.base import PairwiseLossBase
from ml4ir_losses.ops import clean, descending_order, gather_documents, lowest, row_sum, safe_divide, tail_sums
from ml4ir_losses.ops.counting import counts_below


def circle(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: Positive = 1.0,
    gamma: Positive = 64.0,
    margin: NonNegative = 0.25,
) -> Tensor:
    """Per-query circle loss, [B]: see `CircleLoss`."""
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight, temperature)
    similarity = ops.clip(scores, 0.0, 1.0)
    pull = gamma * ops.stop_gradient(ops.relu(1.0 - similarity + margin)) * (1.0 - similarity - margin)
    push = gamma * ops.stop_gradient(ops.relu(similarity + margin)) * (similarity - margin)
    lower = counts_below(labels, labels, mask)
    paired = ops.logical_and(mask, lower > 0)
    # Sorted by label, the documents below document i are a tail of the list, so no loop over pairs is needed.
    ordered = gather_documents(ops.where(mask, push, lowest(push)), descending_order(labels, mask))
    tails = tail_sums(ordered) + ordered
    first = ops.where(paired, ops.sum(ops.cast(mask, "int32"), axis=1, keepdims=True) - lower, 0)
    exponents = ops.where(paired, pull + gather_documents(tails, first), lowest(pull))
    pairs = ops.cast(ops.where(paired, lower, 0), scores.dtype)
    mean_weight = safe_divide(row_sum(weight * pairs), row_sum(pairs))
    return mean_weight * ops.softplus(ops.logsumexp(exponents, axis=-1))


@register_loss("circle", aliases=("circle_loss",))
class CircleLoss(PairwiseLossBase):
    r"""Circle loss: the further the scores of a pair are from 1 and 0, the stronger its gradient.

    $$\bar w \ln\Big(1 + \sum_{y_i > y_j} e^{\gamma\,[\alpha_i(1 - t_i - m) + \alpha_j'(t_j - m)]}\Big),\quad
    t = \mathrm{clip}(s/T, 0, 1)$$
    with α_i = (1 - t_i + m)₊ and α'_j = (t_j + m)₊ treated as constants, and w̄ the mean
    weight of the pairs' higher documents.

    Scores outside [0, 1] get no gradient. Exact at any γ; a query without a pair gives 0. In nats. Scores and
    labels [B, N].

    Args:
        temperature: T, above 0; scores are divided by it.
        gamma: γ, above 0, the scale.
        margin: m, at least 0.
        min_label: documents whose label is below it are padding.

    Raises:
        ValueError: for values or shapes that it does not take.

    Source: Sun et al., "Circle loss: a unified perspective of pair similarity optimization" (2020).
    """

    function = staticmethod(circle)
