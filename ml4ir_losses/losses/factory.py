"""`get_loss`: losses by key, and their weighted sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import PlainValidator, WithJsonSchema

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.core.registry import LOSSES, register_loss
from ml4ir_losses.core.shapes import Shape
from ml4ir_losses.losses.base import RelevanceLossBase


@register_loss("weighted_sum", listed=False)
class WeightedSum(RelevanceLossBase):
    """Σ weight · loss over several losses on one output; the final activation is the first loss's.

    Args:
        losses: (loss, weight) pairs, or `{key: weight}`.
    """

    def __init__(self, losses: Any) -> None:
        pairs = list(losses.items()) if isinstance(losses, Mapping) else losses
        if not isinstance(pairs, Sequence) or not all(isinstance(p, Sequence) and len(p) == 2 for p in pairs):
            raise UserError(f"A weighted sum takes {{key: weight}} or [[loss, weight], ...]. Received: {losses!r}.")
        if not pairs:
            raise UserError("A weighted sum of losses needs at least one loss. Received: none.")
        for key, weight in pairs:
            if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight < float("inf"):
                raise UserError(f"The weight of loss {key!r} must be a number of at least 0. Received: {weight!r}.")
        self.losses = [(get_loss(spec), float(weight)) for spec, weight in pairs]
        first = self.losses[0][0]
        if len({loss.loss_type == "embedding" for loss, _ in self.losses}) > 1:
            received = ", ".join(f"{loss.key} ({loss.loss_type})" for loss, _ in self.losses)
            raise UserError(f"Ranking losses and embedding losses cannot be added. Received: {received}.")
        # A loss whose labels may be negative has no limit of its own: it follows the others.
        min_labels = {loss.min_label for loss, _ in self.losses if not _follows(loss)}
        if len(min_labels) > 1:
            received = ", ".join(sorted(map(str, min_labels)))
            raise UserError(f"The losses of a weighted sum must have the same `min_label`. Received: {received}.")
        if len({loss.outputs for loss, _ in self.losses}) > 1:
            received = ", ".join(f"{loss.key} {loss.outputs or 'several'}" for loss, _ in self.losses)
            raise UserError(
                f"The losses of a weighted sum must take the same number of logits per document. Received: {received}."
            )
        for loss, _ in self.losses:
            if loss.memory_size:
                raise UserError(f"{loss.key!r} keeps rows between batches and cannot be part of a weighted sum.")
        self.loss_type = first.loss_type  # type: ignore[misc]
        self.activation = first.activation  # type: ignore[misc]
        self.takes_confidence = any(loss.takes_confidence for loss, _ in self.losses)  # type: ignore[misc]
        self.loss_key = self.scoring_type = ""
        self.params = {"min_label": next(iter(min_labels), None)}
        self.negative_labels = not min_labels  # type: ignore[misc]

    @property
    def seed(self) -> int | None:
        """The first seed among the losses: they draw from one generator."""
        return next((loss.seed for loss, _ in self.losses if loss.seed is not None), None)

    @property
    def samples(self) -> bool:
        return any(loss.samples for loss, _ in self.losses)

    @property
    def outputs(self) -> int | None:
        return self.losses[0][0].outputs

    def rank_scores(self, logits: Tensor) -> Tensor:
        return self.losses[0][0].rank_scores(logits)

    def get_config(self) -> dict[str, Any]:
        return {"key": self.key, "losses": [[loss.get_config(), weight] for loss, weight in self.losses]}

    def per_query(
        self,
        y_true: Tensor,
        y_pred: Tensor,
        item_weight: Tensor | None = None,
        mask: Tensor | None = None,
        generator: Any = None,
    ) -> Tensor:
        def value(loss: RelevanceLossBase) -> Tensor:
            with_confidence = self.takes_confidence and len(y_true.shape) == 3
            labels = y_true[..., 0] if with_confidence else y_true
            valid = self.valid(labels, y_pred) if mask is None and _follows(loss) else mask
            target = y_true if loss.takes_confidence else labels
            return loss.per_query(target, y_pred, item_weight, valid, generator)

        values = [weight * value(loss) for loss, weight in self.losses]
        return sum(values[1:], values[0])

    def check_shapes(self, y_true: Shape, y_pred: Shape) -> None:
        for loss, _ in self.losses:
            labels_only = self.takes_confidence and not loss.takes_confidence
            loss.check_shapes(y_true[:2] if labels_only else y_true, y_pred)

    def check_labels(
        self, labels: np.ndarray[Any, Any], y_pred: Shape, mask: np.ndarray[Any, Any] | None = None
    ) -> None:
        for loss, _ in self.losses:
            loss.check_labels(labels, y_pred, mask)

    def weight_shape(self, y_true: Shape, y_pred: Shape) -> tuple[int | None, ...]:
        return self.losses[0][0].weight_shape(y_true, y_pred)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.losses!r})"


def get_loss(spec: str | Mapping[str, Any] | RelevanceLossBase, **params: Any) -> RelevanceLossBase:
    """The loss of a key or alias, of `{"key": ..., <params>}`, or the weighted sum of `{key: weight, ...}`.

    >>> get_loss("listnet", temperature=0.5)
    ListNetLoss(temperature=0.5, label_temperature=1.0, min_label=0.0, mini_batch_size=None, activation_fn=None)
    >>> get_loss({"softmax_cross_entropy": 0.9, "pairwise_logistic": 0.1}).loss_type
    'listwise'

    Raises:
        ValueError: for an unknown key or parameter, with the nearest match.
    """
    if isinstance(spec, RelevanceLossBase):
        if params:
            raise UserError(f"{spec!r} is already built and takes no further parameters. Received: {params!r}.")
        return spec
    if isinstance(spec, Mapping) and "key" not in spec and not params and all(map(_is_number, spec.values())):
        embedding = any(LOSSES[key].loss_type == "embedding" for key in spec)
        spec = {"key": "embedding_sum" if embedding else "weighted_sum", "losses": spec}
    loss: RelevanceLossBase = LOSSES.create(spec, **params)
    return loss


def _follows(loss: RelevanceLossBase) -> bool:
    """True for a loss that takes the `min_label` of the others in a weighted sum."""
    return loss.negative_labels and loss.min_label is None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float))


LossSpec = Annotated[
    str | Mapping[str, Any] | RelevanceLossBase,
    PlainValidator(get_loss),
    WithJsonSchema({"type": ["string", "object"]}),
]
"""What `get_loss` takes: the type of a parameter that is a loss."""
