"""Pointwise losses of one logit per document."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import numpy as np

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import Allowed, NonNegative, PositiveInt
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.core.shapes import Shape, differ, same_shape, show
from ml4ir_losses.losses.base import PointwiseLossBase
from ml4ir_losses.ops import as_float, clean, normalise, row_sum, safe_divide, safe_sqrt
from ml4ir_losses.ops.kernels.gradients import with_gradient
from ml4ir_losses.ops.kernels.logarithms import log1p_share
from ml4ir_losses.ops.normalization import Normalization
from ml4ir_losses.ops.replicas import row_number, sum_over_replicas

Factors = Annotated[
    Sequence[NonNegative] | NonNegative | None, Allowed("None, a number of at least 0 or a list of such numbers")
]


def as_lists(*arguments: Tensor | None) -> list[Tensor | None]:
    """Tensors [B] as [B, 1], lists of one document; the others unchanged."""
    tensors = [None if x is None else ops.convert_to_tensor(x) for x in arguments]
    return [x[:, None] if x is not None and len(x.shape) == 1 else x for x in tensors]


def binary_terms(labels: Tensor, scores: Tensor, pos_weight: float | None = None) -> Tensor:
    """-[p·y·ln σ(s) + (1-y)·ln(1-σ(s))] exact at any score, with one exponential."""
    factor = 1.0 if pos_weight is None else pos_weight

    def terms(labels: Tensor, scores: Tensor) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, ...]]]:
        small = ops.exp(-ops.abs(scores))
        rest = log1p_share(small)
        negative = 1.0 - labels
        weight = 1.0 if pos_weight is None else negative + factor * labels
        steep = ops.where(scores > 0, negative, -factor * labels)  # the slope far from 0

        def pull_back(upstream: Tensor) -> tuple[Tensor, ...]:
            share = weight * (small / (1.0 + small))  # σ(-|s|)
            slope = steep + ops.where(scores > 0, -share, share)
            of_positive, of_negative = ops.relu(-scores) + rest, ops.relu(scores) + rest  # -ln σ(s), -ln(1 - σ(s))
            return upstream * (factor * of_positive - of_negative), upstream * slope

        return scores * steep + weight * rest, pull_back

    return with_gradient(terms, (ops.broadcast_to(labels, ops.shape(scores)), scores))


def sigmoid_cross_entropy(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    pos_weight: NonNegative | None = None,
    normalization: Normalization = "query",
) -> Tensor:
    """Per-query sigmoid cross entropy, [B]: see `SigmoidCrossEntropy`."""
    return _cross_entropy(labels, scores, mask, item_weight, 1.0, pos_weight, normalization)


def _cross_entropy(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None,
    item_weight: Tensor | None,
    factor: Tensor | float,
    pos_weight: float | None,
    normalization: Normalization,
) -> Tensor:
    """Per-query sigmoid cross entropy, [B]; the factor multiplies the terms and not the divisor."""
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight)
    terms = weight * factor * binary_terms(labels, scores, pos_weight)
    return normalise(row_sum(terms), row_sum(weight), normalization)


def binary_cross_entropy(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    weight: Factors = None,
    pos_weight: NonNegative | None = None,
    normalization: Normalization = "query",
) -> Tensor:
    """Per-query binary cross entropy, [B]: see `BinaryCrossEntropyLoss`. Arguments may be [B] instead of [B, 1]."""
    labels, scores, mask, item_weight = as_lists(labels, scores, mask, item_weight)
    factor: Tensor | float = 1.0
    if weight is not None:
        factor = ops.convert_to_tensor(np.asarray(weight), dtype=as_float(scores).dtype)
        factor = factor[:, None] if len(factor.shape) == 1 and scores.shape[1] == 1 else factor
    return _cross_entropy(labels, scores, mask, item_weight, factor, pos_weight, normalization)


def mean_squared_error(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    normalization: Normalization = "query",
) -> Tensor:
    """Per-query mean squared error, [B]: see `MeanSquaredErrorLoss`. Arguments may be [B] instead of [B, 1]."""
    labels, scores, mask, item_weight = as_lists(labels, scores, mask, item_weight)
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight)
    squares = ops.square(scores - labels)  # 0 where masked
    return normalise(row_sum(squares if item_weight is None else weight * squares), row_sum(weight), normalization)


def root_mean_squared_error(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    no_of_levels: PositiveInt = 1,
    normalization: Normalization = "query",
) -> Tensor:
    """Per-query root of the mean squared error, [B]: see `RootMeanSquaredErrorLoss`."""
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight)
    total = row_sum(weight * ops.square(no_of_levels * ops.sigmoid(scores) - labels))
    count = row_sum(weight)
    if normalization == "batch":  # each query's share of the root over the whole batch
        rows, whole, number = sum_over_replicas((row_number(total), ops.sum(total), ops.sum(count)))
        return safe_divide(rows * total, safe_sqrt(whole) * safe_sqrt(number) * ops.ones_like(total))
    return safe_sqrt(normalise(total, count, normalization))


@register_loss("sigmoid_cross_entropy", aliases=("sigmoid_cross_entropy_loss",))
class SigmoidCrossEntropy(PointwiseLossBase):
    r"""Cross entropy of every document's label with the sigmoid of its score.

    $$\ell_i = -[p\,y_i \ln\sigma(s_i) + (1-y_i)\ln(1-\sigma(s_i))]$$
    and the query's value is Σ w·ℓ / Σ w over its documents, in nats.

    Labels are not clipped: with a label above 1 the loss has no lower bound. Scores and labels [B, N].

    Args:
        pos_weight: p, the factor of the positive term; None is 1.
        normalization: `query`, the mean over the query's documents; `batch`, the mean over all documents of the
            batch (ml4ir); `sum`.
        min_label: documents whose label is below it are padding.

    Raises:
        ValueError: for values or shapes that it does not take.

    Source: Cox, "The regression analysis of binary sequences" (1958); the pointwise loss of ml4ir.
    """

    function = staticmethod(sigmoid_cross_entropy)
    activation = "sigmoid"


class RowsOrLists(PointwiseLossBase):
    """A pointwise loss of lists [B, N], or of rows [B] that are queries of one document each."""

    def check_shapes(self, y_true: Shape, y_pred: Shape) -> None:
        is_rows = len(y_true) == 1 and len(y_pred) == 2 and y_pred[1] == 1 and not differ(y_true[0], y_pred[0])
        if len(y_pred) not in (1, 2) or not (is_rows or same_shape(y_true, y_pred)):
            raise UserError(
                f"{self.key!r} takes y_true and y_pred of one shape, [B, N] (queries, documents) or [B], or y_true "
                f"[B] with y_pred [B, 1]. Received: y_true {show(y_true)}, y_pred {show(y_pred)}."
            )


@register_loss("binary_cross_entropy", aliases=("binary_cross_entropy_loss",))
class BinaryCrossEntropyLoss(RowsOrLists):
    r"""Cross entropy of labels from 0 to 1 with the sigmoid of the score, for documents or single rows.

    $$\ell_i = -[p\,y_i \ln\sigma(s_i) + (1-y_i)\ln(1-\sigma(s_i))]$$
    and the query's value is Σ w·f·ℓ / Σ w over its documents, in nats.

    Scores and labels [B, N]; or labels [B] with scores [B] or [B, 1], as a `Dense(1)` returns them: then every row is a
    query of one document, and weights are [B].

    Args:
        weight: f, torch's constant weight: a number, one number per place of a list, or one per row of a batch of rows;
            None is 1. Weights of examples, w, come with the data.
        pos_weight: p, the factor of the positive term; None is 1.
        normalization: `query`, the mean over the query's documents; `batch`, the mean over all documents of the
            batch; `sum`.
        min_label: documents whose label is below it are padding.
        activation_fn: applied to the logits first; with `sigmoid` the score goes through a sigmoid twice.

    Raises:
        ValueError: in direct calls, for labels outside [0, 1].

    Source: Cox, "The regression analysis of binary sequences" (1958); the cross-encoder loss of
    sentence-transformers.
    """

    function = staticmethod(binary_cross_entropy)
    activation = "sigmoid"
    defaults = {"activation_fn": None}
    label_range = (0.0, 1.0)


@register_loss("mean_squared_error", aliases=("mean_squared_loss", "mse"))
class MeanSquaredErrorLoss(RowsOrLists):
    r"""Squared difference of score and label.

    $$\frac{\sum_i w_i\,(s_i - y_i)^2}{\sum_i w_i}$$

    In squared units of the label. Scores and labels [B, N]; or labels [B] with scores [B] or [B, 1], as a `Dense(1)`
    gives them: then every row is a query of one document, and weights are [B].

    Args:
        normalization: `query`, the mean over the query's documents; `batch`, the mean over all documents of the
            batch; `sum`.
        min_label: documents whose label is below it are padding; None: negative labels are labels.
        activation_fn: applied to the logits first.

    Raises:
        ValueError: for values or shapes that it does not take.

    Source: Cossock and Zhang, "Subset ranking using regression" (2006).
    """

    function = staticmethod(mean_squared_error)
    negative_labels = True
    defaults = {"activation_fn": None}


@register_loss("root_mean_squared_error", aliases=("pointwise_rmse",))
class RootMeanSquaredErrorLoss(PointwiseLossBase):
    r"""Root mean squared difference, per query, between L times the sigmoid of the score and the label.

    $$\sqrt{\frac{\sum_i w_i\,(L\,\sigma(s_i) - y_i)^2}{\sum_i w_i}}$$

    In units of the label; a query without error has value and gradient 0. Scores and labels [B, N].

    Args:
        no_of_levels: L, the highest label.
        normalization: `query`, the root of the mean over the query's documents, as above; `batch`, per-query values
            whose mean is the root of the mean over all documents of the batch; `sum`, the root of the query's sum.
        min_label: documents whose label is below it are padding.

    Raises:
        ValueError: for values or shapes that it does not take.

    Source: Pobrotyn et al., "Context-aware learning to rank with self-attention" (2020), pointwise RMSE of allRank.
    """

    function = staticmethod(root_mean_squared_error)
    activation = "sigmoid"
