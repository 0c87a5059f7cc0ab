"""ListMLE: the likelihood of the ideal order under the Plackett-Luce model."""

from __future__ import annotations

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import Positive, Seed
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.losses.base import ListwiseLossBase
from ml4ir_losses.losses.lambda_weights import LambdaWeightSpec, get_lambda_weight
from ml4ir_losses.ops import (
    clean,
    descending_order,
    gather_documents,
    list_weight,
    lowest,
    rank_table,
    row_sum,
)
from ml4ir_losses.ops.replicas import uniform_rows
from ml4ir_losses.ops.tail_sums import plackett_luce


def list_mle(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: Positive = 1.0,
    respect_input_order: bool = False,
    lambda_weight: LambdaWeightSpec = None,
    seed: Seed = None,
) -> Tensor:
    """Per-query ListMLE, [B]: see `ListMLELoss`. `seed` may also be a `keras.random.SeedGenerator`."""
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight, temperature)
    list_weights = 1.0 if item_weight is None else list_weight(labels, mask, weight)
    if seed is not None and not respect_input_order:
        shuffle = ops.argsort(uniform_rows(ops.shape(labels), seed=seed), axis=-1)
        labels, scores, mask = (gather_documents(x, shuffle) for x in (labels, scores, mask))
    order = descending_order(ops.zeros_like(labels) if respect_input_order else labels, mask)
    positions, sizes = rank_table(scores)[None, :], row_sum(ops.cast(mask, scores.dtype))[:, None]
    counted = ops.cast(positions <= sizes, scores.dtype)
    if lambda_weight is not None:
        counted = counted * get_lambda_weight(lambda_weight).position_weights(positions, sizes)
    return list_weights * plackett_luce(ops.where(mask, scores, lowest(scores)), order, counted)


def p_list_mle(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: Positive = 1.0,
    lambda_weight: LambdaWeightSpec = "p_list_mle",
    respect_input_order: bool = False,
) -> Tensor:
    """Per-query position-aware ListMLE, [B]: see `PListMLELoss`."""
    return list_mle(
        labels,
        scores,
        mask,
        item_weight=item_weight,
        temperature=temperature,
        respect_input_order=respect_input_order,
        lambda_weight=lambda_weight,
    )


@register_loss("list_mle", aliases=("list_mle_loss",))
class ListMLELoss(ListwiseLossBase):
    r"""Negative log likelihood of the ideal order under the Plackett-Luce model.

    $$\bar w \sum_{r=1}^{n} c_r \Big[\ln\sum_{q \ge r} e^{s_{\pi(q)}/T} - s_{\pi(r)}/T\Big]$$
    with π the order of the labels, highest first, and w̄ the label-weighted mean of the item weights.

    Exact for scores that are far apart; padding does not count. In nats. Scores and labels [B, N].

    Args:
        temperature: T, above 0; scores are divided by it.
        respect_input_order: take the documents' order as the ideal one and ignore the labels (but for padding);
            sentence-transformers does so by default.
        lambda_weight: c, `{key: list_mle, discount: ...}` by the rank in the ideal order; None is 1.
        seed: None keeps tied labels in their order; a number breaks ties at random, in another way at every call.
        min_label: documents whose label is below it are padding.
        activation_fn: applied to the logits first.

    Raises:
        ValueError: for a lambda weight that does not weigh positions.

    Source: Xia et al., "Listwise approach to learning to rank" (2008).
    """

    function = staticmethod(list_mle)
    defaults = {"activation_fn": None}
    lambda_weights = ("position",)


@register_loss("p_list_mle")
class PListMLELoss(ListwiseLossBase):
    r"""ListMLE in which the first ranks count most: a weighted mean of its steps.

    $$\bar w \sum_{r=1}^{n} v_r \Big[\ln\sum_{q \ge r} e^{s_{\pi(q)}/T} - s_{\pi(r)}/T\Big],\quad
    v_r = \frac{2^{n-r}-1}{\sum_{q=1}^{n} (2^{n-q}-1)}$$
    with π the order of the labels, highest first, and w̄ the label-weighted mean of the item weights.

    In nats. Scores and labels [B, N].

    Args:
        temperature: T, above 0; scores are divided by it.
        lambda_weight: v; `{key: p_list_mle, rank_discount_fn: ...}` for the normalised weights of another function
            of the 1-based rank, or of rank and number of documents; None is `list_mle`.
        respect_input_order: take the documents' order as the ideal one and ignore the labels (but for padding);
            sentence-transformers does so by default.
        min_label: documents whose label is below it are padding.
        activation_fn: applied to the logits first.

    Raises:
        ValueError: for a lambda weight that does not weigh positions.

    Source: Lan et al., "Position-aware ListMLE: a sequential learning process for ranking" (2014).
    """

    function = staticmethod(p_list_mle)
    defaults = {"activation_fn": None}
    lambda_weights = ("position",)
