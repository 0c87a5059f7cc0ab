"""Metric learning with class labels: all rows of a class are positives of each other."""

from __future__ import annotations

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import Positive
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.losses.embedding.base import EmbeddingLossBase, Memory, class_rows, row_values
from ml4ir_losses.ops import masked_logsumexp, normalise, row_sum, safe_divide
from ml4ir_losses.ops.similarity import cosine_matrix


def nt_xent(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    memory: Memory | None = None,
    temperature: Positive = 0.07,
) -> Tensor:
    """Per-row values of the cross entropy of positive pairs, [B]: see `NTXentLoss`."""
    anchors, candidates, positive, negative, valid = class_rows(labels, embeddings, mask, memory)
    s = cosine_matrix(anchors, candidates) / temperature
    others = masked_logsumexp(s, negative)
    terms = row_sum(ops.where(positive, -ops.log_sigmoid(s - others), 0.0))
    values = normalise(terms, row_sum(ops.cast(positive, s.dtype)), "batch")
    return row_values(values, valid, item_weight, scaled=False)


def sup_con(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    memory: Memory | None = None,
    temperature: Positive = 0.1,
) -> Tensor:
    """Per-row values of the supervised contrastive loss, [B]: see `SupConLoss`."""
    anchors, candidates, positive, negative, valid = class_rows(labels, embeddings, mask, memory)
    s = cosine_matrix(anchors, candidates) / temperature
    others = masked_logsumexp(s, ops.logical_or(positive, negative))
    count = row_sum(ops.cast(positive, s.dtype))
    terms = safe_divide(row_sum(ops.where(positive, others - s, 0.0)), count)
    values = normalise(terms, ops.cast(terms > 0, s.dtype), "batch")
    return row_values(values, valid, item_weight, scaled=False)


def multi_similarity(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    memory: Memory | None = None,
    alpha: Positive = 2.0,
    beta: Positive = 50.0,
    base: float = 0.5,
) -> Tensor:
    """Per-row values of the multi-similarity loss, [B]: see `MultiSimilarityLoss`."""
    anchors, candidates, positive, negative, valid = class_rows(labels, embeddings, mask, memory)
    s = cosine_matrix(anchors, candidates)
    pull = -ops.log_sigmoid(-masked_logsumexp(alpha * (base - s), positive)) / alpha
    push = -ops.log_sigmoid(-masked_logsumexp(beta * (s - base), negative)) / beta
    return row_values((pull + push)[:, 0], valid, item_weight)


@register_loss("nt_xent")
class NTXentLoss(EmbeddingLossBase):
    r"""NT-Xent: cross entropy of a positive among itself and the rows of other classes, for all pairs of a class.

    $$\frac{1}{P}\sum_{i}\sum_{p \ne i,\ y_p = y_i}
    \ln\Big(e^{\cos(x_i, x_p)/T} + \sum_{n:\ y_n \ne y_i} e^{\cos(x_i, x_n)/T}\Big) - \cos(x_i, x_p)/T$$

    P is the number of pairs (i, p). A row's value is B times its share of the sum; 0 without pairs. In nats.
    y_pred [B, D], y_true [B] class numbers; two views of a text have the same number.

    Args:
        temperature: T, above 0.
        min_label: no effect.

    Raises:
        ValueError: for shapes that do not fit, and in direct calls for class numbers that are not whole.

    Source: Sohn, "Improved deep metric learning with multi-class N-pair loss objective" (2016); Chen et al., "A simple
    framework for contrastive learning of visual representations" (2020).
    """

    function = staticmethod(nt_xent)
    columns, labels = (1, 1), "class"
    takes_memory = True


@register_loss("sup_con")
class SupConLoss(EmbeddingLossBase):
    r"""Supervised contrastive loss: cross entropy of all positives of a row among all other rows.

    $$\ln\sum_{j \ne i} e^{\cos(x_i, x_j)/T} - \frac{1}{|P_i|}\sum_{p \in P_i} \cos(x_i, x_p)/T$$
    with P_i the other rows of the row's class.

    The row values are scaled so that their mean is the mean over the rows where the loss is above 0. In nats. y_pred
    [B, D], y_true [B] class numbers.

    Args:
        temperature: T, above 0.
        min_label: no effect.

    Raises:
        ValueError: for shapes that do not fit, and in direct calls for class numbers that are not whole.

    Source: Khosla et al., "Supervised contrastive learning" (2020).
    """

    function = staticmethod(sup_con)
    columns, labels = (1, 1), "class"
    takes_memory = True


@register_loss("multi_similarity")
class MultiSimilarityLoss(EmbeddingLossBase):
    r"""Multi-similarity loss: soft hinges on the cosines, which weight hard positives and hard negatives more.

    $$\frac{1}{\alpha}\ln\Big[1 + \sum_{p \in P_i} e^{-\alpha(\cos(x_i, x_p) - \lambda)}\Big]
    + \frac{1}{\beta}\ln\Big[1 + \sum_{n \in N_i} e^{\beta(\cos(x_i, x_n) - \lambda)}\Big]$$
    with P_i the other rows of the row's class and N_i the rows of other classes.

    y_pred [B, D], y_true [B] class numbers. Uses all pairs; the paper mines pairs first.

    Args:
        alpha: α, above 0.
        beta: β, above 0.
        base: λ, the cosine at which the hinges start.
        min_label: no effect.

    Raises:
        ValueError: for shapes that do not fit, and in direct calls for class numbers that are not whole.

    Source: Wang et al., "Multi-similarity loss with general pair weighting for deep metric learning" (2019).
    """

    function = staticmethod(multi_similarity)
    columns, labels = (1, 1), "class"
    takes_memory = True
