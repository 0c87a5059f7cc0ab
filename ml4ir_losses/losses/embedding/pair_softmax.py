"""Cross entropy of the class of a pair of texts."""

from __future__ import annotations

from typing import Any

import numpy as np

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import PositiveInt
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.core.shapes import Shape, show
from ml4ir_losses.losses.classification.categorical_cross_entropy import categorical_cross_entropy
from ml4ir_losses.losses.embedding.base import clean_rows, row_values
from ml4ir_losses.losses.embedding.heads import HeadLossBase, class_cross_entropy


def pair_softmax(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    num_labels: PositiveInt,
    concatenation_sent_rep: bool = True,
    concatenation_sent_difference: bool = True,
    concatenation_sent_multiplication: bool = False,
) -> Tensor:
    """Per-row cross entropy of the classes of pairs, [B]: see `PairSoftmaxLoss`."""
    x, valid = clean_rows(embeddings, mask)
    labels = ops.convert_to_tensor(labels)
    if _are_probabilities(labels.shape, num_labels):
        labels = ops.where(valid[:, None], ops.cast(labels, x.dtype), 0.0)
        values = categorical_cross_entropy(labels, x[:, 0], valid)
        return row_values(values, valid, item_weight, scaled=False)
    return class_cross_entropy(labels, x[:, 0], valid, item_weight)


def _are_probabilities(labels: Shape, classes: int) -> bool:
    """True for labels [B, K] with a probability of each of several classes."""
    return len(labels) == 2 and labels[1] == classes > 1


@register_loss("pair_softmax")
class PairSoftmaxLoss(HeadLossBase):
    r"""Cross entropy of the class of a pair, predicted by a linear head on its two embeddings.

    $$-\ln\mathrm{softmax}(W [u, v, |u - v|] + b)_y$$

    The head is part of the model: it concatenates the features chosen by the parameters, in their order, and computes
    y_pred [B, num_labels]. y_true [B] class numbers or [B, num_labels] class probabilities. The final activation is the
    softmax. In nats.

    Args:
        num_labels: number of classes.
        concatenation_sent_rep: u and v are features.
        concatenation_sent_difference: |u - v| is a feature.
        concatenation_sent_multiplication: the elementwise product u·v is a feature.

    Raises:
        ValueError: for shapes that do not fit, a head without features, and in direct calls for class numbers beyond
            `num_labels`.

    Source: Reimers, Gurevych, "Sentence-BERT: sentence embeddings using Siamese BERT-networks" (2019).
    """

    function = staticmethod(pair_softmax)
    head = "pair"
    activation = "classes"

    @property
    def text_columns(self) -> tuple[int, int]:
        return (2, 2)

    def __init__(self, *args: str, **params: Any) -> None:
        super().__init__(*args, **params)
        parts = ("rep", "difference", "multiplication")
        if not any(self.params[f"concatenation_sent_{part}"] for part in parts):
            raise UserError(
                f"One of {', '.join(f'`concatenation_sent_{part}`' for part in parts)} of {self.key!r} must be true. "
                "Received: all false."
            )

    def check_shapes(self, y_true: Shape, y_pred: Shape) -> None:
        probabilities = _are_probabilities(y_true, self.params["num_labels"])
        super().check_shapes(y_true[:1] if probabilities else y_true, y_pred)
        if y_pred[-1] not in (None, self.params["num_labels"]):
            raise UserError(
                f"{self.key!r} takes y_pred [B, num_labels], with num_labels={self.params['num_labels']}. "
                f"Received: y_pred {show(y_pred)}."
            )

    def check_labels(
        self, labels: np.ndarray[Any, Any], y_pred: Shape, mask: np.ndarray[Any, Any] | None = None
    ) -> None:
        if not _are_probabilities(labels.shape, self.params["num_labels"]):
            super().check_labels(labels, y_pred, mask)
            return
        rows = labels if mask is None else labels[mask.reshape(-1)]
        wrong = (rows < 0).any(axis=1) | ~np.isclose(rows.sum(axis=1), 1.0, atol=1e-3)
        if wrong.any():
            raise UserError(
                f"{self.key!r} takes probabilities of at least 0 that add up to 1. Received: {rows[wrong][0].tolist()}."
            )
