"""Triplet losses: the anchor should be closer to a positive than to a negative by a margin."""

from __future__ import annotations

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import NonNegative
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.losses.embedding.base import ClassRows, EmbeddingLossBase, Memory, class_rows, clean_rows, row_values
from ml4ir_losses.ops import lowest, normalise
from ml4ir_losses.ops.counting import counts_below
from ml4ir_losses.ops.similarity import DISTANCE_MATRIX, PAIRED_DISTANCE, Distance


def triplet(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    distance: Distance = "euclidean",
    margin: NonNegative = 5.0,
) -> Tensor:
    """Per-row values of the triplet loss, [B]: see `TripletLoss`."""
    x, valid = clean_rows(embeddings, mask)
    d = PAIRED_DISTANCE[distance]
    gap = d(x[:, 0], x[:, 1]) - d(x[:, 0], x[:, 2])
    return row_values(ops.relu(gap + margin), valid, item_weight)


def batch_all_triplet(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    memory: Memory | None = None,
    distance: Distance = "euclidean",
    margin: NonNegative = 5.0,
) -> Tensor:
    """Per-row values of the triplet loss over all triplets, [B]: see `BatchAllTripletLoss`."""
    pairs = class_rows(labels, embeddings, mask, memory)
    d, positive, negative = _distances(pairs, distance), pairs.positive, pairs.negative
    # The sum of an anchor's hinges is linear in its distances, so that only the number of active triplets (hinge above
    # 0) of each positive and of each negative is needed: a positive is in one with every negative closer than
    # d + margin, a negative in one with every positive whose d + margin is beyond it.
    limit = ops.where(positive, d + margin, -lowest(d))
    active_of_positive = ops.cast(ops.where(positive, counts_below(limit, d, negative), 0), d.dtype)
    inactive = counts_below(d, limit, positive, or_equal=True)
    positives = ops.sum(ops.cast(positive, "int32"), axis=1, keepdims=True)
    active_of_negative = ops.cast(ops.where(negative, positives - inactive, 0), d.dtype)
    # Distances are centred, so that no digits are lost to their common part, which cancels.
    centred = d - ops.stop_gradient(ops.sum(d, axis=1, keepdims=True)) / ops.sum(ops.ones_like(d[:1], dtype=d.dtype))
    hinges = ops.sum((active_of_positive - active_of_negative) * centred + margin * active_of_positive, axis=1)
    values = normalise(hinges, ops.sum(active_of_positive, axis=1), "batch")
    return row_values(values, pairs.valid, item_weight, scaled=False)


def batch_hard_triplet(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    memory: Memory | None = None,
    distance: Distance = "euclidean",
    margin: NonNegative = 5.0,
) -> Tensor:
    """Per-row values of the triplet loss over the hardest triplets, [B]: see `BatchHardTripletLoss`."""
    pairs = class_rows(labels, embeddings, mask, memory)
    return row_values(ops.relu(_hardest_gap(pairs, distance) + margin), pairs.valid, item_weight)


def batch_hard_soft_margin_triplet(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    memory: Memory | None = None,
    distance: Distance = "euclidean",
) -> Tensor:
    """Per-row values of the soft triplet loss over the hardest triplets, [B]: see `BatchHardSoftMarginTripletLoss`."""
    pairs = class_rows(labels, embeddings, mask, memory)
    return row_values(-ops.log_sigmoid(-_hardest_gap(pairs, distance)), pairs.valid, item_weight)


def batch_semi_hard_triplet(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    memory: Memory | None = None,
    distance: Distance = "euclidean",
    margin: NonNegative = 5.0,
) -> Tensor:
    """Per-row values of the triplet loss over semi-hard negatives, [B]: see `BatchSemiHardTripletLoss`."""
    pairs = class_rows(labels, embeddings, mask, memory)
    d, negative = _distances(pairs, distance), pairs.negative
    # Of the negatives sorted by distance, the first one behind those that are as close as the positive or closer.
    nearest_first = ops.argsort(ops.stop_gradient(ops.where(negative, d, -lowest(d))), axis=1)
    not_farther = counts_below(d, d, negative, or_equal=True)
    last = ops.sum(ops.cast(negative, "int32"), axis=1, keepdims=True) - 1
    place = ops.where(not_farther <= last, not_farther, ops.where(last >= 0, last, 0))
    semi_hard = ops.take_along_axis(d, ops.take_along_axis(nearest_first, place, axis=1), axis=1)
    hinges = ops.relu(d - ops.where(ops.any(negative, axis=1)[:, None], semi_hard, 0.0) + margin)
    is_pair = ops.cast(pairs.positive, d.dtype)
    values = normalise(ops.sum(is_pair * hinges, axis=1), ops.sum(is_pair, axis=1), "batch")
    return row_values(values, pairs.valid, item_weight, scaled=False)


def _distances(pairs: ClassRows, distance: str) -> Tensor:
    return DISTANCE_MATRIX[distance](pairs.anchors, pairs.candidates)


def _hardest_gap(pairs: ClassRows, distance: str) -> Tensor:
    """Distance of the farthest positive (0 without one) minus that of the nearest negative; 0 without a negative."""
    d, positive, negative = _distances(pairs, distance), pairs.positive, pairs.negative
    farthest = ops.max(ops.where(positive, d, lowest(d)), axis=1)
    farthest = ops.where(ops.any(positive, axis=1), farthest, 0.0)
    nearest = ops.min(ops.where(negative, d, -lowest(d)), axis=1)
    return ops.where(ops.any(negative, axis=1), farthest - nearest, 0.0)


@register_loss("triplet")
class TripletLoss(EmbeddingLossBase):
    r"""Triplet loss: the anchor should be closer to its positive than to its negative by a margin.

    $$\max\big(0,\ d(a, p) - d(a, n) + m\big)$$

    y_pred [B, 3, D]: anchor, positive, negative; y_true has B rows and is ignored. In units of the distance.

    Args:
        distance: `euclidean`, `squared_euclidean`, `manhattan` or `cosine` (1 - cosine).
        margin: m, at least 0, in units of the distance.

    Raises:
        ValueError: for shapes that do not fit.

    Source: Schroff, Kalenichenko, Philbin, "FaceNet: a unified embedding for face recognition and clustering" (2015).
    """

    function = staticmethod(triplet)
    columns = (3, 3)


class _BatchTripletBase(EmbeddingLossBase):
    """A triplet loss whose triplets are formed by the class numbers of the batch."""

    columns = (1, None)
    labels = "class"
    takes_memory = True


@register_loss("batch_all_triplet")
class BatchAllTripletLoss(_BatchTripletBase):
    r"""Triplet loss over all triplets of the batch whose hinge is above 0.

    $$\frac{\sum_{a, p, n} \max(0,\ d_{ap} - d_{an} + m)}{\#\{(a, p, n):\ d_{ap} - d_{an} + m > 0\}}$$

    over p ≠ a of a's class and n of another. One number for the batch: a row's value is B times its share as an anchor;
    0 without such a triplet. Counted by sorting, with memory B², not B³. y_pred [B, D], or [B, C, D] whose first column
    is read; y_true [B] class numbers. In units of the distance.

    Args:
        distance: `euclidean`, `squared_euclidean`, `manhattan` or `cosine` (1 - cosine).
        margin: m, at least 0, in units of the distance.

    Raises:
        ValueError: for shapes that do not fit, and in direct calls for class numbers that are not whole.

    Source: Hermans, Beyer, Leibe, "In defense of the triplet loss for person re-identification" (2017).
    """

    function = staticmethod(batch_all_triplet)


@register_loss("batch_hard_triplet")
class BatchHardTripletLoss(_BatchTripletBase):
    r"""Triplet loss of each anchor's farthest positive and nearest negative.

    $$\max\big(0,\ \max_p d_{ap} - \min_n d_{an} + m\big)$$

    For a row that is alone in its class the farthest positive is at distance 0; a row without a negative in the batch
    has the value m. y_pred [B, D], or [B, C, D] whose first column is read; y_true [B] class numbers. In units of the
    distance.

    Args:
        distance: `euclidean`, `squared_euclidean`, `manhattan` or `cosine` (1 - cosine).
        margin: m, at least 0, in units of the distance.

    Raises:
        ValueError: for shapes that do not fit, and in direct calls for class numbers that are not whole.

    Source: Hermans, Beyer, Leibe, "In defense of the triplet loss for person re-identification" (2017).
    """

    function = staticmethod(batch_hard_triplet)


@register_loss("batch_hard_soft_margin_triplet")
class BatchHardSoftMarginTripletLoss(_BatchTripletBase):
    r"""Batch-hard triplet loss with a softplus instead of the hinge and its margin.

    $$\ln\big(1 + e^{\max_p d_{ap} - \min_n d_{an}}\big)$$

    For a row that is alone in its class the farthest positive is at distance 0; a row without a negative in the batch
    has the value ln 2.
    y_pred [B, D], or [B, C, D] whose first column is read; y_true [B] class numbers. In nats.

    Args:
        distance: `euclidean`, `squared_euclidean`, `manhattan` or `cosine` (1 - cosine).

    Raises:
        ValueError: for shapes that do not fit, and in direct calls for class numbers that are not whole.

    Source: Hermans, Beyer, Leibe, "In defense of the triplet loss for person re-identification" (2017).
    """

    function = staticmethod(batch_hard_soft_margin_triplet)


@register_loss("batch_semi_hard_triplet")
class BatchSemiHardTripletLoss(_BatchTripletBase):
    r"""Triplet loss of every positive and the nearest negative that is farther away.

    $$\frac{1}{\#(a, p)} \sum_{a, p} \max(0,\ d_{ap} - h_{ap} + m), \qquad
    h_{ap} = \min\{d_{an}: d_{an} > d_{ap}\}$$

    or, where no negative is farther than the positive, the farthest negative; without a negative in the batch h is 0.
    One number for the batch: a row's value is B times its share as an anchor; 0 without a positive pair. Memory B².
    y_pred [B, D], or [B, C, D] whose first column is read; y_true [B] class numbers. In units of the distance.

    Args:
        distance: `euclidean`, `squared_euclidean`, `manhattan` or `cosine` (1 - cosine).
        margin: m, at least 0, in units of the distance.

    Raises:
        ValueError: for shapes that do not fit, and in direct calls for class numbers that are not whole.

    Source: Schroff, Kalenichenko, Philbin, "FaceNet: a unified embedding for face recognition and clustering" (2015).
    """

    function = staticmethod(batch_semi_hard_triplet)
