"""Softmax cross entropies of a list."""

from __future__ import annotations

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import Positive
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.losses.base import ListwiseLossBase
from ml4ir_losses.losses.lambda_weights import LambdaWeightSpec, get_lambda_weight
from ml4ir_losses.ops import (
    below_top,
    clean,
    masked_cross_entropy,
    masked_logsumexp,
    ranks,
    row_sum,
    safe_divide,
    softmax_of_valid,
    surprisal,
)


def softmax_cross_entropy(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: Positive = 1.0,
    normalize_labels: bool = False,
    lambda_weight: LambdaWeightSpec = None,
) -> Tensor:
    """Per-query softmax cross entropy, [B]: see `SoftmaxCrossEntropy`."""
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight, temperature)
    gains = labels
    if lambda_weight is not None:
        gains = get_lambda_weight(lambda_weight).document_weights(labels, ranks(scores, mask), mask)
    target = weight * ops.stop_gradient(gains)
    if normalize_labels:
        target = safe_divide(target, row_sum(target)[:, None] * ops.ones_like(target))
    return masked_cross_entropy(target, scores, mask)


def rank_one_listnet(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: Positive = 1.0,
) -> Tensor:
    """Per-query rank-one ListNet, [B]: see `RankOneListNet`."""
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight, temperature)
    scores = below_top(scores, mask)
    surprise = surprisal(scores, mask)
    # For the best document ln(1 - p) is the log of the others' share: 1 - p would round to 0.
    size = ops.shape(scores)[1]
    best = ops.argmax(ops.where(mask, scores, float("-inf")), axis=-1)[:, None] == ops.arange(size)[None, :]
    others = ops.logical_and(mask, ops.logical_not(best))
    several = ops.any(others, axis=-1, keepdims=True)
    log_rest_of_best = masked_logsumexp(scores, others) - masked_logsumexp(scores, mask)
    log_rest = ops.where(best, log_rest_of_best, ops.log1p(-ops.exp(-ops.where(others, surprise, 1.0))))
    log_rest = ops.where(ops.logical_and(mask, several), log_rest, 0.0)
    return row_sum(weight * (labels * surprise - (1.0 - labels) * log_rest))


def aux_one_hot_cross_entropy(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: Positive = 1.0,
) -> Tensor:
    """Per-query cross entropy with the highest label, [B]: see `AuxOneHotCrossEntropy`."""
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight, temperature)
    top = ops.max(ops.where(mask, labels, float("-inf")), axis=-1, keepdims=True)
    target = ops.cast(ops.logical_and(mask, labels >= top), scores.dtype)
    return safe_divide(masked_cross_entropy(weight * target, scores, mask), row_sum(target))


def aux_softmax_cross_entropy(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: Positive = 1.0,
) -> Tensor:
    """Per-query cross entropy with the softmax of the labels, [B]: see `AuxSoftmaxCrossEntropy`."""
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight, temperature)
    return masked_cross_entropy(weight * softmax_of_valid(labels, mask), scores, mask)


@register_loss("softmax_cross_entropy", aliases=("softmax_loss",))
class SoftmaxCrossEntropy(ListwiseLossBase):
    r"""Cross entropy of the labels with the softmax of the scores over the query's documents.

    $$-\sum_i w_i\,y_i \ln\frac{e^{s_i/T}}{\sum_j e^{s_j/T}}$$

    Labels are not normalised: a query with more relevance weighs more. A query without relevance gives 0.
    In nats. Scores and labels [B, N].

    Args:
        temperature: T, above 0; scores are divided by it.
        normalize_labels: divide the weighted labels by their sum, so that every query weighs the same.
        lambda_weight: `dcg` or `ndcg`: every document's gain, discounted by its rank by score, replaces its
            label.
        min_label: documents whose label is below it are padding.

    Raises:
        ValueError: for a lambda weight that does not weigh documents.

    Source: Bruch et al., "An analysis of the softmax cross entropy loss for learning-to-rank with binary
    relevance" (2019).
    """

    function = staticmethod(softmax_cross_entropy)
    activation = "softmax"
    lambda_weights = ("dcg",)


@register_loss("rank_one_listnet")
class RankOneListNet(ListwiseLossBase):
    r"""Binary cross entropy of every label with the document's softmax probability, summed over the query.

    $$-\sum_i w_i\,[y_i \ln p_i + (1-y_i)\ln(1-p_i)],\quad p = \mathrm{softmax}(s/T)$$

    Computed exactly at any score (ml4ir clips p at 1e-7, where its gradient dies). In a list of one document
    p is the constant 1, and the value is 0. In nats. Scores [B, N], labels [B, N] from 0 to 1.

    Args:
        temperature: T, above 0; scores are divided by it.
        min_label: documents whose label is below it are padding.

    Raises:
        ValueError: in direct calls, for labels outside [0, 1].

    Source: Cao et al., "Learning to rank: from pairwise approach to listwise approach" (2007), top-one form of
    ml4ir.
    """

    function = staticmethod(rank_one_listnet)
    activation = "softmax"
    label_range = (0.0, 1.0)


@register_loss("aux_one_hot_cross_entropy")
class AuxOneHotCrossEntropy(ListwiseLossBase):
    r"""Softmax cross entropy in which the documents of the query's highest label share the target.

    $$-\frac{1}{|M|}\sum_{i \in M} w_i \ln\mathrm{softmax}(s/T)_i,\quad M = \{i: y_i = \max_j y_j\}$$

    Padding takes part in neither the maximum nor the ties. In nats. Scores and labels [B, N].

    Args:
        temperature: T, above 0; scores are divided by it.
        min_label: documents whose label is below it are padding; None: negative labels are labels.

    Raises:
        ValueError: for values or shapes that it does not take.

    Source: ml4ir, auxiliary objectives (2022).
    """

    function = staticmethod(aux_one_hot_cross_entropy)
    negative_labels = True
    activation = "softmax"


@register_loss("aux_softmax_cross_entropy")
class AuxSoftmaxCrossEntropy(ListwiseLossBase):
    r"""Cross entropy of the softmax of the labels with the softmax of the scores.

    $$-\sum_i w_i\,\mathrm{softmax}(y)_i \ln\mathrm{softmax}(s/T)_i$$

    In nats. Scores and labels [B, N].

    Args:
        temperature: T, above 0; scores, not labels, are divided by it.
        min_label: documents whose label is below it are padding; None: negative labels are labels.

    Raises:
        ValueError: for values or shapes that it does not take.

    Source: ml4ir, auxiliary objectives (2022).
    """

    function = staticmethod(aux_softmax_cross_entropy)
    negative_labels = True
    activation = "softmax"
