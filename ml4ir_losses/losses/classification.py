"""Classification losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ml4ir_losses.errors import UserError
from ml4ir_losses.lazy import Tensor, ops
from ml4ir_losses.losses.base import RelevanceLossBase
from ml4ir_losses.ops import as_float, safe_divide
from ml4ir_losses.registry import register_loss


def categorical_cross_entropy(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    label_smoothing: float = 0.0,
    class_weight: Sequence[float] | None = None,
    ignore_index: int | None = None,
) -> Tensor:
    """Per-row cross entropy over K classes, [B]: see `CategoricalCrossEntropy`. `mask` and weights are [B]."""
    scores = as_float(scores)
    classes = scores.shape[-1]
    labels = ops.convert_to_tensor(labels)
    if len(labels.shape) == 2 and labels.shape[-1] == 1 and classes != 1:
        labels = ops.squeeze(labels, axis=-1)
    if len(labels.shape) == 1:
        index = ops.cast(ops.where(labels >= 0, labels, -1), "int32")  # NaN: -1
        target = ops.cast(index[:, None] == ops.arange(classes, dtype="int32")[None, :], scores.dtype)
        row_valid = ops.cast(index >= 0, scores.dtype)
        if ignore_index is not None:
            row_valid = row_valid * ops.cast(index != ignore_index, scores.dtype)
    else:
        target = ops.cast(labels, scores.dtype)
        row_valid = ops.ones_like(scores[:, 0])
    if mask is not None:
        row_valid = ops.where(mask, row_valid, 0.0)
    if class_weight is None:
        importance = ops.ones((classes,), dtype=scores.dtype)
    else:
        importance = ops.convert_to_tensor(np.asarray(class_weight), dtype=scores.dtype)
    smooth = (1.0 - label_smoothing) * target + label_smoothing / classes
    scores = ops.where(row_valid[:, None] > 0, scores, 0.0)
    terms = -ops.sum(smooth * importance * ops.log_softmax(scores, axis=-1), axis=-1) * row_valid
    rows = ops.sum(ops.ones_like(terms))
    shares = ops.sum(target * importance, axis=-1) * row_valid if class_weight is not None else row_valid
    values = safe_divide(rows * terms, ops.sum(shares) * ops.ones_like(terms))
    if item_weight is not None:
        values = values * ops.where(row_valid > 0, ops.cast(item_weight, values.dtype), 0.0)
    return values


@register_loss("categorical_cross_entropy", aliases=("cross_entropy_loss",))
class CategoricalCrossEntropy(RelevanceLossBase):
    r"""Cross entropy of a row's class with the softmax of its K logits.

    $$-\sum_k v_k\,[(1-e)\,y_k + e/K] \ln\mathrm{softmax}(z)_k$$

    The row values are scaled so that their mean is the mean over the rows that count, weighted by the weight of
    each row's class when `class_weight` is given. In nats. y_pred [B, K]; y_true [B] class numbers or [B, K]
    one-hot.

    Args:
        label_smoothing: e, from 0 to below 1.
        class_weight: v, one weight per class; None is 1.
        ignore_index: rows of this class number do not count.
        activation_fn: applied to the logits first.

    Raises:
        ValueError: for shapes that do not fit, and in direct calls for class numbers beyond K.

    Source: Bridle, "Probabilistic interpretation of feedforward classification network outputs" (1990).
    """

    loss_type = "classification"
    function = staticmethod(categorical_cross_entropy)
    activation = "softmax"
    defaults = {"activation_fn": None, "min_label": None}

    @classmethod
    def _positional(cls) -> tuple[str, ...]:
        return ()

    def valid(self, y_true: Tensor) -> None:
        """Class numbers below 0 are dropped by the function itself."""

    def check_shapes(self, y_true: Sequence[int | None], y_pred: Sequence[int | None]) -> None:
        classes = y_pred[-1] if len(y_pred) == 2 else None
        one_hot = len(y_true) == 2 and y_true[1] in (classes, None)
        numbers = len(y_true) == 1 or (len(y_true) == 2 and y_true[1] == 1)
        weight = self.params["class_weight"]
        if len(y_pred) != 2 or not (one_hot or numbers) or _differ(y_true[0], y_pred[0]):
            raise UserError(
                f"{self.key!r} takes y_pred [B, K] and y_true [B] class numbers or [B, K] one-hot. "
                f"Received: y_true {tuple(y_true)}, y_pred {tuple(y_pred)}."
            )
        if weight is not None and _differ(len(weight), classes):
            raise UserError(
                f"`class_weight` must hold one weight for each of the {classes} classes. Received: {weight!r}."
            )

    def check_labels(
        self, labels: np.ndarray[Any, Any], y_pred: Sequence[int | None], mask: np.ndarray[Any, Any] | None = None
    ) -> None:
        classes = y_pred[1]
        if classes is None or (labels.ndim == 2 and labels.shape[1] == classes != 1):
            return
        labels = labels.reshape(-1)
        counts = (labels >= 0) & (labels != self.params["ignore_index"])
        wrong = counts & (labels >= classes) if mask is None else counts & (labels >= classes) & mask.reshape(-1)
        if wrong.any():
            raise UserError(
                f"{self.key!r} takes class numbers below {classes}, the width of y_pred. "
                f"Received: {labels[wrong][0]:g}."
            )

    def weight_shape(self, y_true: Sequence[int | None]) -> tuple[int | None, ...]:
        return tuple(y_true[:1])


def _differ(a: Any, b: Any) -> bool:
    return a is not None and b is not None and a != b
