"""Losses on a head's similarities to class vectors (proxies), and what all losses on a head share."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import NonNegative, Positive
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.core.shapes import Shape
from ml4ir_losses.losses.classification.categorical_cross_entropy import categorical_cross_entropy
from ml4ir_losses.losses.embedding.base import EmbeddingLossBase, clean_rows, row_labels, row_values
from ml4ir_losses.ops import lowest, safe_sqrt
from ml4ir_losses.ops.replicas import gather_rows


def proxy_anchor(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    margin: NonNegative = 0.1,
    alpha: Positive = 32.0,
) -> Tensor:
    """Per-row values of the proxy-anchor loss, [B], all the same number: see `ProxyAnchorLoss`."""
    own_rows = _outputs(labels, embeddings, mask)
    (cosines, is_own_class, valid), _ = gather_rows(*own_rows)
    pull = _log1p_sum(-alpha * (cosines - margin), is_own_class)
    push = _log1p_sum(alpha * (cosines + margin), ops.logical_and(valid[:, None], ops.logical_not(is_own_class)))
    present = ops.cast(ops.any(is_own_class, axis=0), cosines.dtype)
    count = ops.sum(present)
    value = ops.sum(pull) / ops.where(count > 0, count, 1.0) + ops.sum(push) / cosines.shape[-1]
    return row_values(value, own_rows[2], item_weight)


def proxy_nca(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    softmax_scale: Positive = 1.0,
) -> Tensor:
    """Per-row values of the proxy-NCA loss, [B]: see `ProxyNCALoss`."""
    squares, _, valid = _outputs(labels, embeddings, mask)
    return class_cross_entropy(labels, -softmax_scale * squares, valid, item_weight)


def arc_face(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    margin: NonNegative = 28.6,
    scale: Positive = 64.0,
) -> Tensor:
    """Per-row values of ArcFace, [B]: see `ArcFaceLoss`."""
    cosines, is_own_class, valid = _outputs(labels, embeddings, mask)
    m = math.radians(margin)
    # cos(θ + m) decreases up to θ = π - m only; beyond, a linear continuation is used.
    widened = math.cos(m) * cosines - math.sin(m) * safe_sqrt(1.0 - ops.square(cosines))
    target = ops.where(cosines < -math.cos(m), cosines - m * math.sin(m), widened)
    return class_cross_entropy(labels, scale * ops.where(is_own_class, target, cosines), valid, item_weight)


def cos_face(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    margin: NonNegative = 0.35,
    scale: Positive = 64.0,
) -> Tensor:
    """Per-row values of CosFace, [B]: see `CosFaceLoss`."""
    cosines, is_own_class, valid = _outputs(labels, embeddings, mask)
    return class_cross_entropy(labels, scale * ops.where(is_own_class, cosines - margin, cosines), valid, item_weight)


def _outputs(labels: Tensor, embeddings: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """The head's outputs [B, K], the boolean mask [B, K] of each row's own class, and the mask [B]."""
    x, valid = clean_rows(embeddings, mask)
    outputs = x[:, 0]
    y = ops.where(valid, row_labels(labels, outputs), -1.0)
    return outputs, y[:, None] == ops.arange(outputs.shape[-1], dtype=outputs.dtype)[None, :], valid


def class_cross_entropy(labels: Tensor, logits: Tensor, valid: Tensor, item_weight: Tensor | None) -> Tensor:
    """Per-row cross entropy, scaled so that its mean over all rows is the mean over the valid rows."""
    labels = ops.where(valid, row_labels(labels, logits), 0.0)
    return row_values(categorical_cross_entropy(labels, logits, valid), valid, item_weight, scaled=False)


def _log1p_sum(x: Tensor, included: Tensor) -> Tensor:
    """ln(1 + Σ exp x) over the included rows, [B, K] → [K]; 0 without one."""
    total = ops.logsumexp(ops.where(included, x, lowest(x)), axis=0)
    return -ops.log_sigmoid(-total)


class HeadLossBase(EmbeddingLossBase):
    """A loss with class numbers as labels and one head output per class, y_pred [B, K]."""

    columns = (1, 1)
    labels = "class"

    def check_labels(
        self, labels: np.ndarray[Any, Any], y_pred: Shape, mask: np.ndarray[Any, Any] | None = None
    ) -> None:
        super().check_labels(labels, y_pred, mask)
        numbers = labels.reshape(-1) if mask is None else labels.reshape(-1)[mask.reshape(-1)]
        classes = y_pred[-1]
        wrong = (numbers < 0) | (numbers >= (math.inf if classes is None else classes))
        if wrong.any():
            raise UserError(
                f"{self.key!r} takes class numbers from 0 to K - 1 for y_pred [B, K], with K = {classes}. "
                f"Received: {numbers[wrong][0]:g}."
            )

    def _wanted(self) -> str:
        return "[B, K], one output of the head per class,"


@register_loss("proxy_anchor")
class ProxyAnchorLoss(HeadLossBase):
    r"""Proxy-anchor loss: the vector of each class is an anchor, close to the rows of its class, far from the others.

    $$\frac{1}{K^+} \sum_k \ln\Big(1 + \sum_{i: y_i = k} e^{-\alpha (s_{ik} - m)}\Big)
    + \frac{1}{K} \sum_k \ln\Big(1 + \sum_{i: y_i \ne k} e^{\alpha (s_{ik} + m)}\Big)$$

    s are the cosines to the vectors of the K classes, which the head of the model holds; K⁺ classes occur in the batch.
    One number for the batch, the value of every row. In nats. y_pred [B, K] cosines; y_true [B] class numbers.

    Args:
        margin: m, at least 0.
        alpha: α, above 0.

    Raises:
        ValueError: for shapes that do not fit, and in direct calls for class numbers beyond K.

    Source: Kim et al., "Proxy anchor loss for deep metric learning" (2020).
    """

    function = staticmethod(proxy_anchor)
    head = "cosine"


@register_loss("proxy_nca")
class ProxyNCALoss(HeadLossBase):
    r"""Proxy-NCA: cross entropy of a row's class with the softmax of the negative squared distances to class vectors.

    $$-\ln\mathrm{softmax}(-\lambda d^2)_y$$

    The head of the model holds the vectors. In nats. y_pred [B, K] squared distances of unit vectors; y_true [B] class
    numbers. As in pytorch-metric-learning, and unlike the paper, the denominator includes the own class.

    Args:
        softmax_scale: λ, above 0.

    Raises:
        ValueError: for shapes that do not fit, and in direct calls for class numbers beyond K.

    Source: Movshovitz-Attias et al., "No fuss distance metric learning using proxies" (2017).
    """

    function = staticmethod(proxy_nca)
    head = "squared_distance"


@register_loss("arc_face")
class ArcFaceLoss(HeadLossBase):
    r"""ArcFace: cross entropy over cosines to class vectors, with a margin added to the angle of the own class.

    $$-\ln\mathrm{softmax}(\lambda z)_y, \qquad z_y = \cos(\theta_y + m),\ z_{k \ne y} = \cos\theta_k$$

    Where θ_y > π - m, cos θ_y - m·sin m (m in radians) replaces cos(θ_y + m), so that the function keeps decreasing.
    The head of the model holds the vectors. In nats. y_pred [B, K] cosines; y_true [B] class numbers.

    Args:
        margin: m, in degrees, at least 0.
        scale: λ, above 0.

    Raises:
        ValueError: for shapes that do not fit, and in direct calls for class numbers beyond K.

    Source: Deng et al., "ArcFace: additive angular margin loss for deep face recognition" (2019).
    """

    function = staticmethod(arc_face)
    head = "cosine"


@register_loss("cos_face")
class CosFaceLoss(HeadLossBase):
    r"""CosFace: cross entropy over cosines to class vectors, with a margin subtracted from that of the own class.

    $$-\ln\mathrm{softmax}(\lambda z)_y, \qquad z_y = \cos\theta_y - m,\ z_{k \ne y} = \cos\theta_k$$

    The head of the model holds the vectors. In nats. y_pred [B, K] cosines; y_true [B] class numbers.

    Args:
        margin: m, at least 0.
        scale: λ, above 0.

    Raises:
        ValueError: for shapes that do not fit, and in direct calls for class numbers beyond K.

    Source: Wang et al., "CosFace: large margin cosine loss for deep face recognition" (2018).
    """

    function = staticmethod(cos_face)
    head = "cosine"
