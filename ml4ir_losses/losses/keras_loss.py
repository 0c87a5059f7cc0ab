"""The one Keras loss behind `get_loss_fn`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from ml4ir_losses.errors import UserError
from ml4ir_losses.lazy import Tensor
from ml4ir_losses.losses.activations import INVERSES
from ml4ir_losses.losses.base import RelevanceLossBase, get_loss
from ml4ir_losses.losses.propensity import PropensitySpec, check_propensity, propensity_weight


@keras.saving.register_keras_serializable("ml4ir_losses")
class RelevanceLoss(keras.losses.Loss):  # type: ignore[misc]
    """A relevance loss as `fn(y_true, y_pred, sample_weight=None) -> scalar` for `model.compile`.

    Keras reduces the [B] values of the rows. Weights are scalar, [B] or [B, 1] per query (Keras multiplies them
    in), or [B, N] per document (the loss itself takes them in); another shape is an error.

    Args:
        loss: the loss, or its config.
        reduction: `sum_over_batch_size`, `sum` or `none`, as in Keras.
        from_logits: False if y_pred already went through the final activation (sigmoid and softmax only).
        mask: [B, N], 1 = document, 0 = padding; stands in for the padding that the labels carry.
        positions: [B, N], 1-based ranks at which the documents were shown; the document weights are multiplied by
            the inverse propensity. As `mask`, a concrete tensor: for direct calls, such a function is not saved.
        propensity: the examination model, `{"key": "power", "eta": 1.0, "clip": 10}` or a table of probabilities.

    Raises:
        ValueError: for labels, scores or weights of a wrong shape, and in direct calls for wrong values.
    """

    def __init__(
        self,
        loss: RelevanceLossBase | Mapping[str, Any] | str,
        reduction: str | None = "sum_over_batch_size",
        from_logits: bool = True,
        name: str | None = None,
        mask: Tensor | None = None,
        positions: Tensor | None = None,
        propensity: PropensitySpec = None,
    ) -> None:
        self.loss = get_loss(loss)
        super().__init__(name=name or self.loss.key, reduction=reduction)
        if not from_logits and not self.loss.invertible:
            raise UserError(
                f"`from_logits=False` needs a loss whose final activation is sigmoid or softmax; "
                f"that of {self.loss.key!r} is {self.loss.activation}. Pass logits instead."
            )
        if propensity is not None:
            propensity = check_propensity(propensity)
        self.from_logits = from_logits
        self.mask = mask
        self.positions = positions
        self.propensity = propensity

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        self.loss.check_shapes(y_true.shape, y_pred.shape)
        self._check_labels(y_true)
        query_weight, item_weight = split_weights(sample_weight, self.loss.weight_shape(y_true.shape))
        target = {"labels": y_true}
        if self.mask is not None:
            target["mask"] = self._aligned("mask", self.mask, y_true)
        if self.positions is not None:
            weight = propensity_weight(self._aligned("positions", self.positions, y_true), self.propensity)
            item_weight = weight if item_weight is None else weight * ops.cast(item_weight, weight.dtype)
        if item_weight is not None:
            target["item_weight"] = item_weight
        # A dict hides a `_keras_mask` on y_pred, which Keras would multiply into the [B] values.
        return super().__call__(target, {"scores": y_pred}, query_weight)

    def call(self, target: dict[str, Tensor], prediction: dict[str, Tensor]) -> Tensor:
        scores = prediction["scores"]
        if not self.from_logits:
            scores = INVERSES[self.loss.activation](scores)
        mask = target.get("mask")
        mask = None if mask is None else mask > 0
        return self.loss.per_query(target["labels"], scores, target.get("item_weight"), mask)

    def get_config(self) -> dict[str, Any]:
        for name in ("mask", "positions"):
            if getattr(self, name) is not None:
                raise UserError(
                    f"A loss function made with `{name}=` holds a tensor and cannot be saved. "
                    f"Make it anew with get_loss_fn(), or let RelevanceModel read `{name}` from the data."
                )
        return {
            "loss": self.loss.get_config(),
            "reduction": self.reduction,
            "from_logits": self.from_logits,
            "name": self.name,
            "propensity": self.propensity,
        }

    @staticmethod
    def _aligned(name: str, value: Tensor, y_true: Tensor) -> Tensor:
        value = ops.convert_to_tensor(value)
        if not same_shape(value.shape, y_true.shape):
            raise UserError(f"`{name}` must have the labels' shape {tuple(y_true.shape)}. Received: {value.shape}.")
        return value

    def _check_labels(self, y_true: Tensor) -> None:
        if self.loss.label_range is None:
            return
        labels = concrete(y_true)
        if labels is None:
            return
        low, high = self.loss.label_range
        valid = labels >= (low if self.loss.min_label is None else self.loss.min_label)
        if self.mask is not None:
            valid = np.asarray(ops.convert_to_numpy(self.mask)) > 0
        wrong = valid & ~((labels >= low) & (labels <= high))
        if wrong.any():
            raise UserError(
                f"{self.loss.key!r} takes labels from {low:g} to {high:g}. Received: {labels[wrong].flat[0]:g}."
            )


def split_weights(weight: Tensor | None, labels_shape: Sequence[int | None]) -> tuple[Tensor | None, Tensor | None]:
    """Keras' sample_weight as (query weight [B] or scalar, item weight [B, N]); `UserError` for another shape."""
    if weight is None:
        return None, None
    weight = ops.convert_to_tensor(weight)
    shape = weight.shape
    rows = labels_shape[:1]
    if len(shape) == 0 or (len(shape) == 1 and same_shape(shape, rows)):
        return weight, None
    if len(shape) == 2 and shape[1] == 1 and same_shape(shape[:1], rows):
        return ops.squeeze(weight, axis=-1), None
    if len(shape) == 2 and len(labels_shape) >= 2 and same_shape(shape, labels_shape[:2]):
        return None, weight
    raise UserError(
        "`sample_weight` must be a scalar, [B] or [B, 1] per query, or [B, N] per document, "
        f"for labels of shape {tuple(labels_shape)}. Received: shape {tuple(shape)}."
    )


def same_shape(a: Sequence[int | None], b: Sequence[int | None]) -> bool:
    """True if the ranks agree and so does every size that is known."""
    return len(a) == len(b) and all(m is None or n is None or m == n for m, n in zip(a, b, strict=True))


def concrete(x: Tensor) -> np.ndarray[Any, Any] | None:
    """The values of an eager tensor; None while a graph is being traced."""
    try:
        return np.asarray(ops.convert_to_numpy(x))
    except Exception:  # each backend raises an error of its own for a symbolic tensor
        return None
