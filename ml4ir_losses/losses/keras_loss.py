"""The one Keras loss behind `get_loss_fn`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, Self

import keras
import numpy as np
from keras import ops

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.core.registry import LOSSES
from ml4ir_losses.core.shapes import Shape, same_shape
from ml4ir_losses.losses.activations import INVERSES
from ml4ir_losses.losses.propensity import PropensitySpec, check_propensity, propensity_weight
from ml4ir_losses.losses.row_queue import RowQueue
from ml4ir_losses.ops.backend import without_autograph
from ml4ir_losses.ops.masking import safe_divide
from ml4ir_losses.ops.replicas import keras_divisor, replica_count, sum_over_replicas
from ml4ir_losses.ops.weights import split_weights


class Loss(Protocol):
    """What `RelevanceLoss` needs of a loss: see `ml4ir_losses.losses.base.RelevanceLossBase`."""

    key: ClassVar[str]
    activation: ClassVar[str]

    @property
    def takes_lists(self) -> bool: ...
    @property
    def invertible(self) -> bool: ...
    @property
    def seed(self) -> int | None: ...
    @property
    def samples(self) -> bool: ...
    @property
    def memory_size(self) -> int | None: ...
    def check_shapes(self, y_true: Shape, y_pred: Shape) -> None: ...
    def check_labels(self, labels: Any, y_pred: Shape, mask: Any = None) -> None: ...
    def weight_shape(self, y_true: Shape, y_pred: Shape) -> tuple[int | None, ...]: ...
    def per_query(
        self, y_true: Tensor, y_pred: Tensor, item_weight: Tensor | None, mask: Tensor | None, generator: Any
    ) -> Tensor: ...
    def get_config(self) -> dict[str, Any]: ...


@keras.saving.register_keras_serializable("ml4ir_losses")
class RelevanceLoss(keras.losses.Loss):  # type: ignore[misc]
    """A relevance loss as `fn(y_true, y_pred, sample_weight=None) -> scalar` for `model.compile`.

    Keras reduces the per-query values [B]. Weights are scalar, [B] or [B, 1] per query (Keras multiplies the values
    by them), or [B, N] per document (the loss applies them), or both as `{"query": ..., "item": ...}`; another shape
    is an error.

    In a step of several replicas (`ops.replicas`) the loss of a replica is its share: the losses of all replicas sum to
    the loss of the whole batch, and so do their gradients, also where replicas have different numbers of rows. What
    averages gradients, as `DistributedDataParallel` does, multiplies by the number of replicas first. On JAX every
    device sees the whole batch.

    Args:
        loss: the loss.
        reduction: `sum_over_batch_size`, `sum` or `none`, as in Keras.
        from_logits: False if y_pred already went through the final activation (sigmoid and softmax only).
        mask: [B, N], 1 = document, 0 = padding; overrides the padding that the labels imply.
        positions: [B, N], 1-based ranks at which the documents were shown; the document weights are multiplied by
            the inverse propensity. Like `mask` it is a concrete tensor for direct calls; such a loss cannot be saved.
        propensity: the examination model, `{"key": "power", "eta": 1.0, "clip": 10}` or a table of probabilities.

    Raises:
        ValueError: for labels, scores or weights of a wrong shape, and in direct calls for wrong values.
    """

    def __init__(
        self,
        loss: Loss,
        reduction: str | None = "sum_over_batch_size",
        from_logits: bool = True,
        name: str | None = None,
        mask: Tensor | None = None,
        positions: Tensor | None = None,
        propensity: PropensitySpec = None,
    ) -> None:
        self.loss: Any = loss
        super().__init__(name=name or self.loss.key, reduction=reduction)
        if not from_logits and not self.loss.invertible:
            raise UserError(
                f"`from_logits=False` needs a loss whose final activation is sigmoid or softmax; "
                f"that of {self.loss.key!r} is {self.loss.activation}. Pass logits instead."
            )
        for argument, value in (("mask", mask), ("positions", positions)):
            if isinstance(value, keras.KerasTensor):
                raise UserError(
                    f"`{argument}` is a symbolic tensor of a functional model, which a loss never gets: Keras passes "
                    "labels and scores alone. Mark padding in the labels (below 0, or NaN where they may be negative), "
                    f"pass document weights as `sample_weight`, or use RelevanceModel, which reads `{argument}` from "
                    f"the data; `{argument}=` takes concrete tensors, for direct calls."
                )
        if propensity is not None:
            propensity = check_propensity(propensity)
        self.from_logits = from_logits
        self.mask = mask
        self.positions = positions
        self.propensity = propensity
        # An attribute, so that a model can track it: on JAX only a tracked generator advances.
        self.seed_generator = keras.random.SeedGenerator(self.loss.seed) if self.loss.samples else None
        # The same holds for the rows that a loss keeps.
        self.memory = RowQueue(self.loss.memory_size) if self.loss.memory_size else None

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        return without_autograph(self._checked)(y_true, y_pred, sample_weight)

    def _checked(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None) -> Tensor:
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        if self.loss.takes_lists:
            y_true, y_pred = without_last_axis(y_true), without_last_axis(y_pred)
        true_shape, pred_shape = tuple(y_true.shape), tuple(y_pred.shape)
        self.loss.check_shapes(true_shape, pred_shape)
        shape = self.loss.weight_shape(true_shape, pred_shape)
        if isinstance(sample_weight, Mapping):
            query_weight, no_item = split_weights(sample_weight.get("query"), shape)
            no_query, item_weight = split_weights(sample_weight.get("item"), shape)
            if set(sample_weight) - {"query", "item"} or no_item is not None or no_query is not None:
                shapes = {name: tuple(ops.shape(value)) for name, value in sample_weight.items() if value is not None}
                raise UserError(
                    '`sample_weight` as a mapping holds "query", a scalar or [B], and "item", [B, N]. '
                    f"Received: {shapes}."
                )
        else:
            query_weight, item_weight = split_weights(sample_weight, shape)
        target = {"labels": y_true}
        if self.mask is not None:
            target["mask"] = self._aligned("mask", self.mask, shape)
        if self.positions is not None:
            weight = propensity_weight(self._aligned("positions", self.positions, shape), self.propensity)
            item_weight = weight if item_weight is None else weight * ops.cast(item_weight, weight.dtype)
        if item_weight is not None:
            target["item_weight"] = item_weight
        self._check_labels(y_true, y_pred)
        # A dict hides a `_keras_mask` on y_pred, which Keras would multiply into the [B] values.
        loss = super().__call__(target, {"scores": y_pred}, query_weight)
        if replica_count() * keras_divisor() == 1 or self.reduction in ("sum", "none", None):
            return loss
        return loss * keras_divisor() * self._share(y_pred, query_weight)

    def _share(self, y_pred: Tensor, query_weight: Tensor | None) -> Tensor:
        """This replica's share of what the mean is divided by, the number of rows or their weights."""
        divisor = ops.cast(ops.convert_to_tensor(ops.shape(y_pred)[0]), "float32")
        if self.reduction == "mean_with_sample_weight" and query_weight is not None:
            divisor = ops.sum(ops.cast(query_weight, divisor.dtype))
        return safe_divide(divisor, sum_over_replicas(divisor))

    def call(self, target: dict[str, Tensor], prediction: dict[str, Tensor]) -> Tensor:
        scores = prediction["scores"]
        if not self.from_logits:
            scores = INVERSES[self.loss.activation](scores)
        mask = target.get("mask")
        mask = None if mask is None else mask > 0
        inputs = target["labels"], scores, target.get("item_weight"), mask, self.seed_generator
        if self.memory is None or not self.memory.active:
            return self.loss.per_query(*inputs)
        rows = self.loss.to_remember(target["labels"], scores, mask)
        self.memory.prepare(rows[0], scores)
        values = self.loss.per_query(*inputs, self.memory.rows())
        self.memory.put(*rows)
        return values

    def get_config(self) -> dict[str, Any]:
        for name in ("mask", "positions"):
            if getattr(self, name) is not None:
                raise UserError(
                    f"A loss function made with `{name}=` holds a tensor and cannot be saved. "
                    f"Make a new one with get_loss_fn(), or let RelevanceModel read `{name}` from the data."
                )
        return {
            "loss": self.loss.get_config(),
            "reduction": self.reduction,
            "from_logits": self.from_logits,
            "name": self.name,
            "propensity": self.propensity,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The Keras loss that `get_config` described."""
        return cls(**{**config, "loss": LOSSES.create(config["loss"])})

    @staticmethod
    def _aligned(name: str, value: Tensor, shape: Sequence[int | None]) -> Tensor:
        value = ops.convert_to_tensor(value)
        if not same_shape(value.shape, shape):
            raise UserError(f"`{name}` must have the labels' shape {tuple(shape)}. Received: {tuple(value.shape)}.")
        return value

    def _check_labels(self, y_true: Tensor, y_pred: Tensor) -> None:
        labels = concrete(y_true)
        if labels is not None:
            mask = None if self.mask is None else np.asarray(ops.convert_to_numpy(self.mask)) > 0
            self.loss.check_labels(labels, y_pred.shape, mask)


def without_last_axis(x: Tensor) -> Tensor:
    """[B, N, 1] as [B, N], the output of a `Dense(1)` over documents; another shape as it is."""
    return ops.squeeze(x, axis=-1) if len(x.shape) == 3 and x.shape[-1] == 1 else x


def concrete(x: Tensor) -> np.ndarray[Any, Any] | None:
    """The values of an eager tensor; None while a graph is being traced."""
    try:
        return np.asarray(ops.convert_to_numpy(x))
    except Exception:  # each backend raises another error for a symbolic tensor
        return None
