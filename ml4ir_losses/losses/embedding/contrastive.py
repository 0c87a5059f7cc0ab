"""Contrastive losses of labelled pairs of texts."""

from __future__ import annotations

from collections.abc import Callable

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import NonNegative
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.losses.embedding.base import EmbeddingLossBase, labelled_pairs, row_values
from ml4ir_losses.ops import lowest
from ml4ir_losses.ops.replicas import gather_rows, row_number, sum_over_replicas
from ml4ir_losses.ops.similarity import PAIRED_DISTANCE, Distance


def contrastive(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    distance: Distance = "cosine",
    margin: NonNegative = 0.5,
    size_average: bool = True,
) -> Tensor:
    """Per-row values of the contrastive loss, [B]: see `ContrastiveLoss`."""
    y, (a, b), valid = labelled_pairs(labels, embeddings, mask)
    d = PAIRED_DISTANCE[distance](a, b)
    terms = 0.5 * (y * ops.square(d) + (1.0 - y) * ops.square(ops.relu(margin - d)))
    if size_average:
        return row_values(terms, valid, item_weight)
    rows = sum_over_replicas(row_number(terms))
    return row_values(rows * terms, valid, item_weight, scaled=False)


def online_contrastive(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    distance: Distance = "cosine",
    margin: NonNegative = 0.5,
) -> Tensor:
    """Per-row values of the contrastive loss over hard pairs, [B]: see `OnlineContrastiveLoss`."""
    y, (a, b), valid = labelled_pairs(labels, embeddings, mask)
    d = PAIRED_DISTANCE[distance](a, b)
    similar, dissimilar = ops.logical_and(valid, y == 1), ops.logical_and(valid, y == 0)
    fixed = ops.stop_gradient(d)
    (distances, are_similar, are_dissimilar), _ = gather_rows(fixed, similar, dissimilar)
    farthest_similar = _threshold(distances, are_similar, are_dissimilar, ops.max, lowest(d))
    nearest_dissimilar = _threshold(distances, are_dissimilar, are_similar, ops.min, -lowest(d))
    pull = ops.logical_and(similar, fixed > nearest_dissimilar)
    push = ops.logical_and(dissimilar, fixed < farthest_similar)
    terms = ops.where(pull, ops.square(d), 0.0) + ops.where(push, ops.square(ops.relu(margin - d)), 0.0)
    return row_values(terms, valid, item_weight, scaled=False)


def _threshold(d: Tensor, group: Tensor, other: Tensor, reduce: Callable[..., Tensor], filler: float) -> Tensor:
    """The extreme distance of a group; if it is empty, the mean distance of the other group."""
    count = ops.sum(ops.cast(other, d.dtype))
    mean = ops.sum(ops.where(other, d, 0.0)) / ops.where(count > 0, count, 1.0)
    return ops.where(ops.any(group), reduce(ops.where(group, d, filler)), mean)


@register_loss("contrastive")
class ContrastiveLoss(EmbeddingLossBase):
    r"""Contrastive loss: similar texts are pulled together, dissimilar ones pushed apart up to a margin.

    $$\tfrac12 \big(y\, d^2 + (1 - y) \max(0, m - d)^2\big)$$

    with d the distance of the two texts of a row. y_pred [B, 2, D]; y_true [B] from 0 (dissimilar) to 1 (similar);
    values in between weight both terms. In squared units of the distance.

    Args:
        distance: `cosine` (1 - cosine), `euclidean`, `squared_euclidean` or `manhattan`.
        margin: m, at least 0, in units of the distance.
        size_average: true: the loss is the mean over the valid rows; false: their sum (the row values are then B
            times the terms, so that their mean is the sum).

    Raises:
        ValueError: for shapes that do not fit, and in direct calls for labels outside 0 to 1.

    Source: Hadsell, Chopra, LeCun, "Dimensionality reduction by learning an invariant mapping" (2006).
    """

    function = staticmethod(contrastive)
    columns = (2, 2)
    labels = "share"


@register_loss("online_contrastive")
class OnlineContrastiveLoss(EmbeddingLossBase):
    r"""Contrastive loss over the hard pairs of the batch only.

    $$[y = 1,\ d > t^+]\, d^2 + [y = 0,\ d < t^-] \max(0, m - d)^2$$

    t⁺ is the smallest distance of the dissimilar pairs of the batch, t⁻ the largest of the similar pairs; without pairs
    of one kind, the mean distance of the other kind. Thresholds have no gradient. The loss of sentence-transformers is
    the sum of the row values (`reduction="sum"`). y_pred [B, 2, D]; y_true [B], 1 similar, 0 dissimilar.

    Args:
        distance: `cosine` (1 - cosine), `euclidean`, `squared_euclidean` or `manhattan`.
        margin: m, at least 0, in units of the distance.

    Raises:
        ValueError: for shapes that do not fit, and in direct calls for labels other than 0 and 1.

    Source: sentence-transformers.
    """

    function = staticmethod(online_contrastive)
    columns = (2, 2)
    labels = "binary"
