"""MarginMSE: a teacher's margins as regression targets."""

from __future__ import annotations

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import Positive
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.core.shapes import Shape, differ, show
from ml4ir_losses.losses.base import PairwiseLossBase
from ml4ir_losses.ops import as_float, as_mask, normalise, row_sum
from ml4ir_losses.ops.normalization import Normalization


def margin_mse(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: Positive = 1.0,
    normalization: Normalization = "query",
) -> Tensor:
    """Per-row squared error of margins, [B]: see `MarginMSELoss`.

    `mask` is of the labels' shape, or [B]; `item_weight` is [B, n], one weight per negative.
    """
    scores, labels = as_float(scores) / temperature, ops.convert_to_tensor(labels)
    if len(labels.shape) == 1:
        labels = labels[:, None]
    if mask is not None and len(mask.shape) == 1:
        mask = ops.cast(ops.convert_to_tensor(mask), "bool")[:, None] & ops.ones_like(labels, dtype="bool")
    mask = as_mask(mask, labels)
    labels = ops.where(mask, ops.cast(labels, scores.dtype), 0.0)
    offset = (
        ops.shape(labels)[1] + 1 - ops.shape(scores)[1]
    )  # 1: labels are the teacher's scores; 0: they are its margins
    labels_are_scores = ops.equal(offset, 1)
    margins = ops.where(labels_are_scores, labels[:, :1] - labels[:, offset:], labels[:, offset:])
    valid = mask[:, offset:] & (mask[:, :1] | ops.logical_not(labels_are_scores))
    error = ops.where(valid, scores[:, :1] - scores[:, 1:] - margins, 0.0)
    weight = ops.cast(valid, scores.dtype)
    if item_weight is not None:
        weight = ops.where(valid, ops.cast(item_weight, scores.dtype), 0.0)
    return normalise(row_sum(weight * ops.square(error)), row_sum(weight), normalization)


@register_loss("margin_mse", aliases=("margin_mse_loss",))
class MarginMSELoss(PairwiseLossBase):
    r"""Squared error of the margins between a positive and its negatives against a teacher's margins.

    $$\frac{1}{n} \sum_{j=1}^{n} \big((s_0 - s_j)/T - m_j\big)^2$$

    y_pred [B, 1+n]: the score of the positive, then those of n negatives. y_true is one of: the teacher's scores
    [B, 1+n] in the same order (m_j = y_0 - y_j; for one negative [B, 2]), its margins m [B, n], or, for one negative,
    [B]. The mean of the per-row values is the mean over all B·n margins. In squared units of the scores.

    Args:
        temperature: T, above 0; scores are divided by it, labels are not.
        normalization: `query`, the mean over the row's negatives; `batch`, over all of the batch; `sum`.
        min_label: negatives whose label is below it do not count; None: all count.
        activation_fn: applied to every score first.

    Raises:
        ValueError: for shapes that do not fit, and for document weights (rows have weights, [B]).

    Source: Hofstätter et al., "Improving efficient neural ranking models with cross-architecture knowledge
    distillation" (2020).
    """

    function = staticmethod(margin_mse)
    negative_labels = True
    takes_margins = True
    defaults = {"activation_fn": None}

    def check_shapes(self, y_true: Shape, y_pred: Shape) -> None:
        width = y_pred[1] if len(y_pred) == 2 else 0
        widths = {1: (2, None), 2: (None if width is None else width - 1, width)}.get(len(y_true), ())
        fits = width in widths if len(y_true) < 2 else None in (width, y_true[-1]) or y_true[-1] in widths
        if len(y_pred) != 2 or not widths or width in (0, 1) or not fits or differ(y_true[0], y_pred[0]):
            raise UserError(
                f"{self.key!r} takes y_pred [B, 1+n] (positive, n negatives) and y_true [B, 1+n] teacher scores, "
                f"[B, n] margins, or [B] margins where n is 1. Received: y_true {show(y_true)}, "
                f"y_pred {show(y_pred)}."
            )

    def weight_shape(self, y_true: Shape, y_pred: Shape) -> tuple[int | None, ...]:
        return tuple(y_true[:1])
