"""Variants of the softmax loss: other targets, a virtual item, other normalisers."""

from __future__ import annotations

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import NonNegative, Positive
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.losses.base import ListwiseLossBase
from ml4ir_losses.ops import (
    clean,
    descending_order,
    gather_documents,
    list_weight,
    lowest,
    masked_cross_entropy,
    row_sum,
    safe_divide,
    softmax_of_valid,
    surprisal,
    tail_sums,
)
from ml4ir_losses.ops.counting import counts_below
from ml4ir_losses.ops.gains import GainSpec, label_gain


def listnet(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: Positive = 1.0,
    label_temperature: Positive = 1.0,
) -> Tensor:
    """Per-query top-one ListNet, [B]: see `ListNetLoss`."""
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight, temperature)
    return masked_cross_entropy(weight * softmax_of_valid(labels / label_temperature, mask), scores, mask)


def binary_listnet(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: Positive = 1.0,
) -> Tensor:
    """Per-query ListNet of normalised labels, [B]: see `BinaryListNetLoss`."""
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight, temperature)
    target = weight * labels
    return safe_divide(masked_cross_entropy(target, scores, mask), row_sum(target))


def calibrated_softmax(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: Positive = 1.0,
    virtual_label: NonNegative = 0.0,
) -> Tensor:
    """Per-query calibrated softmax loss, [B]: see `CalibratedSoftmaxLoss`."""
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight, temperature)
    nothing = ops.zeros_like(scores[:, :1])
    target = ops.concatenate([weight * labels, nothing + virtual_label], axis=1)
    scores = ops.concatenate([scores, nothing], axis=1)
    mask = ops.concatenate([mask, ops.ones_like(nothing, dtype="bool")], axis=1)
    return masked_cross_entropy(target, scores, mask)


def unique_softmax(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: Positive = 1.0,
    gain: GainSpec | None = "pow2_minus_1",
) -> Tensor:
    """Per-query unique softmax loss, [B]: see `UniqueSoftmaxLoss`."""
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight, temperature)
    list_weights = list_weight(labels, mask, weight)
    # Sorted by label, the documents of a lower label are a tail of the list, the same for equal labels.
    order = descending_order(labels, mask)
    labels, scores, mask = (gather_documents(x, order) for x in (labels, scores, mask))
    lower = ops.where(mask, counts_below(labels, labels, mask), 0)
    first = ops.where(lower > 0, ops.sum(ops.cast(mask, "int32"), axis=-1, keepdims=True) - lower, 0)
    tails = tail_sums(ops.where(mask, scores, lowest(scores)))
    # ln(1 + e^d) with d = ln Σ e^(s_j - s_i): only differences, so that an offset of all scores costs no precision.
    log_odds = ops.where(
        lower > 0, gather_documents(tails, first) + (gather_documents(scores, first) - scores), lowest(scores)
    )
    gains = ops.cast(mask, scores.dtype) if gain is None else label_gain(labels, mask, gain)
    return list_weights * row_sum(gains * ops.softplus(log_odds))


def poly1_softmax(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: Positive = 1.0,
    epsilon: NonNegative = 1.0,
) -> Tensor:
    """Per-query poly-1 softmax loss, [B]: see `Poly1SoftmaxLoss`."""
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight, temperature)
    surprise = surprisal(scores, mask)
    return row_sum(weight * labels * (surprise - epsilon * ops.expm1(-surprise)))


@register_loss("listnet", aliases=("list_net",))
class ListNetLoss(ListwiseLossBase):
    r"""Cross entropy of the softmax of the labels with the softmax of the scores.

    $$-\sum_i w_i\,\mathrm{softmax}(y/T_y)_i \ln\mathrm{softmax}(s/T)_i$$

    Equal labels make the target uniform. The entropy of the target, a constant, is not
    subtracted. In nats. Scores and labels [B, N].

    Args:
        temperature: T, above 0; scores are divided by it.
        label_temperature: T_y, above 0; labels are divided by it.
        min_label: documents whose label is below it are padding.
        activation_fn: applied to the logits first.

    Raises:
        ValueError: for a temperature that is not above 0.

    Source: Cao et al., "Learning to rank: from pairwise approach to listwise approach" (2007).
    """

    function = staticmethod(listnet)
    activation = "softmax"
    defaults = {"activation_fn": None}


@register_loss("binary_listnet")
class BinaryListNetLoss(ListwiseLossBase):
    r"""Cross entropy of the labels, normalised to sum 1, with the softmax of the scores.

    $$-\sum_i \frac{w_i\,y_i}{\sum_j w_j\,y_j} \ln\mathrm{softmax}(s/T)_i$$

    All queries with relevance weigh the same; a query without gives 0. In nats. Scores and labels [B, N].

    Args:
        temperature: T, above 0; scores are divided by it.
        min_label: documents whose label is below it are padding.

    Raises:
        ValueError: for a temperature that is not above 0.

    Source: Cao et al., "Learning to rank: from pairwise approach to listwise approach" (2007), with the binary
    targets of allRank.
    """

    function = staticmethod(binary_listnet)
    activation = "softmax"


@register_loss("calibrated_softmax", aliases=("calibrated_softmax_loss",))
class CalibratedSoftmaxLoss(ListwiseLossBase):
    r"""Softmax cross entropy with a virtual document of score 0, which ties the scores to a scale.

    $$-\sum_i w_i\,y_i\,(s_i/T - L) + y_0 L,\quad L = \ln\Big(1 + \sum_j e^{s_j/T}\Big)$$

    The virtual document has the query's weight, or 1 if documents have weights. A query without relevance pushes its
    scores down if y₀ is above 0. In nats. Scores and labels [B, N].

    Args:
        temperature: T, above 0; scores are divided by it.
        virtual_label: y₀, at least 0: the label of the virtual document.
        min_label: documents whose label is below it are padding.

    Raises:
        ValueError: for a `virtual_label` below 0.

    Source: Yan et al., "Scale calibration of deep ranking models" (2022).
    """

    function = staticmethod(calibrated_softmax)
    activation = "sigmoid"


@register_loss("unique_softmax", aliases=("unique_softmax_loss",))
class UniqueSoftmaxLoss(ListwiseLossBase):
    r"""Softmax loss in which every document competes only with those of a lower label.

    $$\bar w \sum_i g(y_i)\,\ln\Big(1 + \sum_{j:\,y_j<y_i} e^{(s_j-s_i)/T}\Big)$$
    with w̄ the label-weighted mean of the item weights.

    With the default gain, 2^y - 1, a label above 100 counts as 100. In nats. Scores and labels [B, N]; memory B·N.

    Args:
        temperature: T, above 0; scores are divided by it.
        gain: g: `pow2_minus_1`, `identity`, or a Python function of the labels; None is 1.
        min_label: documents whose label is below it are padding.

    Raises:
        ValueError: for a temperature that is not above 0.

    Source: Zhu and Klabjan, "Listwise learning to rank by exploring unique ratings" (2020).
    """

    function = staticmethod(unique_softmax)
    activation = "softmax"


@register_loss("poly1_softmax", aliases=("poly_one_softmax_loss",))
class Poly1SoftmaxLoss(ListwiseLossBase):
    r"""Softmax cross entropy with the first term of its polynomial expansion reweighted.

    $$\sum_i w_i\,y_i\,[-\ln p_i + \epsilon\,(1-p_i)],\quad p = \mathrm{softmax}(s/T)$$

    Labels are not normalised, as in `softmax_cross_entropy`. In nats. Scores and labels [B, N].

    Args:
        temperature: T, above 0; scores are divided by it.
        epsilon: ε, at least 0; 0 is `softmax_cross_entropy`.
        min_label: documents whose label is below it are padding.

    Raises:
        ValueError: for an `epsilon` below 0.

    Source: Leng et al., "PolyLoss: a polynomial expansion perspective of classification loss functions" (2022).
    """

    function = staticmethod(poly1_softmax)
    activation = "softmax"
