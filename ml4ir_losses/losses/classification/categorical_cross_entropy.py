"""Classification losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Lt

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import Allowed, NonNegative
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.core.shapes import Shape, differ, show
from ml4ir_losses.losses.base import CHUNKS, RelevanceLossBase
from ml4ir_losses.ops import as_float, normalise, row_sum
from ml4ir_losses.ops.normalization import Normalization

ClassWeight = Annotated[Sequence[NonNegative], Allowed("a list of one weight of at least 0 per class")]


def categorical_cross_entropy(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    label_smoothing: Annotated[float, Ge(0), Lt(1)] = 0.0,
    class_weight: ClassWeight | None = None,
    ignore_index: int | None = None,
    normalization: Normalization = "batch",
) -> Tensor:
    """Per-row cross entropy over K classes, [B]: see `CategoricalCrossEntropy`.

    `mask` and weights are [B], or [B, N] for scores [B, N, K].
    """
    scores, labels = as_float(scores), ops.convert_to_tensor(labels)
    classes, rows = scores.shape[-1], ops.shape(scores)[:-1]
    if _one_hot(labels.shape, scores.shape):
        target = ops.cast(labels, scores.dtype)
        valid = ops.ones_like(scores[..., 0], dtype="bool")
    else:
        index = ops.cast(ops.where(labels >= 0, labels, -1), "int32")  # NaN: -1
        index = ops.reshape(index, rows)
        target = ops.cast(index[..., None] == ops.arange(classes, dtype="int32"), scores.dtype)
        valid = index >= 0
        if ignore_index is not None:
            valid = ops.logical_and(valid, index != ignore_index)
    if mask is not None:
        valid = ops.logical_and(valid, ops.reshape(ops.cast(mask, "bool"), rows))
    class_weights = 1.0
    if class_weight is not None:
        class_weights = ops.convert_to_tensor(np.asarray(class_weight), dtype=scores.dtype)
    smoothed = (1.0 - label_smoothing) * target + label_smoothing / classes
    logs = ops.log_softmax(ops.where(valid[..., None], scores, 0.0), axis=-1)
    terms = ops.where(valid, -ops.sum(smoothed * class_weights * logs, axis=-1), 0.0)
    shares = ops.cast(valid, scores.dtype)
    if class_weight is not None:
        shares = ops.where(valid, ops.sum(target * class_weights, axis=-1), 0.0)
    weight = ops.cast(valid, scores.dtype)
    if item_weight is not None:
        weight = ops.where(valid, ops.cast(item_weight, scores.dtype), 0.0)
    if len(scores.shape) == 2:  # as in Keras, the weight of a row multiplies its value
        return weight * normalise(terms, shares, normalization)
    return normalise(row_sum(weight * terms), row_sum(weight * shares), normalization)


@register_loss("categorical_cross_entropy", aliases=("cross_entropy_loss",))
class CategoricalCrossEntropy(RelevanceLossBase):
    r"""Cross entropy of the class of a row with the softmax of its K logits.

    $$-\sum_k v_k\,[(1-e)\,y_k + e/K] \ln\mathrm{softmax}(z)_k$$

    The row values are scaled so that their mean is the mean over the valid rows, weighted by the weights of their
    classes if `class_weight` is given. In nats. y_pred [B, K]; y_true [B] class numbers or [B, K]
    one-hot; the final activation is the softmax.

    Lists of documents that each have a class, such as a grade: y_pred [B, N, K], y_true [B, N] class numbers. The
    mean is then the weighted mean over all documents of the batch, and documents are ranked by the expected class
    Σ_k k·softmax(z)_k, the final activation.

    Args:
        label_smoothing: e, from 0 to below 1.
        class_weight: v, one weight per class; None: 1.
        ignore_index: rows of this class number are ignored.
        normalization: `batch`, the mean over the rows or documents of the batch; `query`, the mean over the documents
            of each list, or each row by itself; `sum`, no divisor (torch's `reduction="sum"` and `"none"`).
        min_label: rows or documents with a class number below it are padding; numbers below 0 always are.
        activation_fn: applied to the logits first.

    Raises:
        ValueError: for shapes that do not fit, and in direct calls for class numbers beyond K.

    Source: Bridle, "Probabilistic interpretation of feedforward classification network outputs" (1990); ranking by
    the expected class: Li, Burges, Wu, "McRank: learning to rank using multiple classification and gradient boosting"
    (2007).
    """

    loss_type = "classification"
    function = staticmethod(categorical_cross_entropy)
    activation = "classes"
    step_parameters = CHUNKS
    defaults = {"activation_fn": None}

    @classmethod
    def _positional(cls) -> tuple[str, ...]:
        return ()

    @property
    def outputs(self) -> None:
        """None: as many as the model has."""

    def rank_scores(self, logits: Tensor) -> Tensor:
        """The logit of (expected class) / (K - 1): unbounded, so that confident documents do not tie."""
        if len(logits.shape) != 3:
            return logits
        log_p = ops.log_softmax(as_float(logits), axis=-1)
        log_k = ops.log(ops.arange(1, log_p.shape[-1], dtype=log_p.dtype))
        return ops.logsumexp(log_p[..., 1:] + log_k, axis=-1) - ops.logsumexp(
            log_p[..., :-1] + ops.flip(log_k, axis=0), axis=-1
        )

    def valid(self, y_true: Tensor, y_pred: Tensor) -> Tensor | None:
        """The mask of the valid rows; None: all one-hot rows are valid."""
        if _one_hot(ops.shape(y_true), ops.shape(y_pred)):
            return None
        return ops.reshape(super().valid(y_true, y_pred), ops.shape(y_pred)[:-1])

    def check_shapes(self, y_true: Shape, y_pred: Shape) -> None:
        classes = y_pred[-1] if y_pred else None
        weight = self.params["class_weight"]
        if len(y_pred) == 3:
            fits = len(y_true) == 2 and not differ(y_true[1], y_pred[1])
        else:
            fits = len(y_pred) == 2 and (len(y_true) == 1 or (len(y_true) == 2 and y_true[1] in (1, classes, None)))
        if not fits or differ(y_true[0], y_pred[0]):
            raise UserError(
                f"{self.key!r} takes y_pred [B, K] and y_true [B] class numbers or [B, K] one-hot, or y_pred "
                f"[B, N, K] and y_true [B, N] class numbers. Received: y_true {show(y_true)}, y_pred {show(y_pred)}."
            )
        if weight is not None and differ(len(weight), classes):
            raise UserError(
                f"`class_weight` must hold one weight for each of the {classes} classes. Received: {weight!r}."
            )

    def check_labels(
        self, labels: np.ndarray[Any, Any], y_pred: Shape, mask: np.ndarray[Any, Any] | None = None
    ) -> None:
        classes = y_pred[-1]
        if classes is None or _one_hot(labels.shape, y_pred):
            return
        labels = labels.reshape(-1)
        valid = (labels >= 0) & (labels != self.params["ignore_index"])
        wrong = valid & ((labels >= classes) | (labels != np.floor(labels)))
        if mask is not None:
            wrong &= mask.reshape(-1)
        if wrong.any():
            raise UserError(
                f"{self.key!r} takes class numbers from 0 to {classes - 1}, one logit of y_pred for each "
                f"(`num_outputs` of the architecture). Received: {labels[wrong][0]:g}."
            )

    def weight_shape(self, y_true: Shape, y_pred: Shape) -> tuple[int | None, ...]:
        return tuple(y_true[: len(y_pred) - 1])


def _one_hot(labels: Shape, scores: Shape) -> bool:
    """True for labels [B, K] of scores [B, K]; [B] and [B, 1] are class numbers."""
    return len(scores) == 2 and len(labels) == 2 and (labels[1] != 1 or scores[1] == 1)
