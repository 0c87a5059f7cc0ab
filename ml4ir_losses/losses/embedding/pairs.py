"""Losses of labelled pairs of texts: similar or not, or how similar."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import NonNegative, Positive
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.core.shapes import Shape, show
from ml4ir_losses.losses.embedding.base import EmbeddingLossBase, clean_rows, row_labels, row_values
from ml4ir_losses.ops import lowest
from ml4ir_losses.ops.similarity import (
    PAIRED_DISTANCE,
    PAIRED_SIMILARITY,
    Distance,
    Similarity,
    absolute,
    paired_cosine,
    paired_dot,
    unit_vectors,
)

ErrorFunction = Literal["mse", "mae", "huber"] | Callable[..., Tensor]
Transformation = Literal["identity", "sigmoid", "tanh", "relu"] | Callable[..., Tensor]


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
    """Row values of the contrastive loss, [B]: see `ContrastiveLoss`."""
    y, (a, b), valid = _labelled_pairs(labels, embeddings, mask)
    d = PAIRED_DISTANCE[distance](a, b)
    terms = 0.5 * (y * ops.square(d) + (1.0 - y) * ops.square(ops.relu(margin - d)))
    if size_average:
        return row_values(terms, valid, item_weight)
    rows = ops.sum(ops.cast(ops.ones_like(valid), terms.dtype))
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
    """Row values of the contrastive loss over hard pairs, [B]: see `OnlineContrastiveLoss`."""
    y, (a, b), valid = _labelled_pairs(labels, embeddings, mask)
    d = PAIRED_DISTANCE[distance](a, b)
    alike, different = ops.logical_and(valid, y == 1), ops.logical_and(valid, y == 0)
    fixed = ops.stop_gradient(d)
    farthest_alike = _threshold(fixed, alike, different, ops.max, lowest(d))
    nearest_different = _threshold(fixed, different, alike, ops.min, -lowest(d))
    pull = ops.logical_and(alike, fixed > nearest_different)
    push = ops.logical_and(different, fixed < farthest_alike)
    terms = ops.where(pull, ops.square(d), 0.0) + ops.where(push, ops.square(ops.relu(margin - d)), 0.0)
    return row_values(terms, valid, item_weight, scaled=False)


def contrastive_tension(
    labels: Tensor, embeddings: Tensor, mask: Tensor | None = None, *, item_weight: Tensor | None = None
) -> Tensor:
    """Row values of contrastive tension, [B]: see `ContrastiveTensionLoss`."""
    y, (a, b), valid = _labelled_pairs(labels, embeddings, mask)
    z = paired_dot(a, b)
    terms = -y * ops.log_sigmoid(z) - (1.0 - y) * ops.log_sigmoid(-z)
    return row_values(terms, valid, item_weight, scaled=False)


def cosine_similarity(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    loss_fct: ErrorFunction = "mse",
    cos_score_transformation: Transformation | None = None,
) -> Tensor:
    """Row values of the error of the cosine, [B]: see `CosineSimilarityLoss`."""
    y, (a, b), valid = _labelled_pairs(labels, embeddings, mask)
    cosine = _named(_TRANSFORMS, cos_score_transformation or "identity")(paired_cosine(a, b))
    loss = _named(_LOSSES, loss_fct)
    terms = ops.reshape(loss(y[:, None], cosine[:, None]), (-1,))  # Keras' functions average over the last axis
    return row_values(terms, valid, item_weight)


def cosent(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    scale: Positive = 20.0,
    similarity: Similarity = "cosine",
) -> Tensor:
    """Row values of CoSENT, [B], all the same number: see `CoSENTLoss`."""
    y, (a, b), valid = _labelled_pairs(labels, embeddings, mask)
    return row_values(_order_loss(y, scale * PAIRED_SIMILARITY[similarity](a, b), valid), valid, item_weight)


def angle(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    scale: Positive = 20.0,
) -> Tensor:
    """Row values of AnglE, [B], all the same number: see `AnglELoss`."""
    y, (u, v), valid = _labelled_pairs(labels, embeddings, mask)
    u, v = unit_vectors(u), unit_vectors(v)
    half = u.shape[-1] // 2
    a, b, c, d = u[:, :half], u[:, half:], v[:, :half], v[:, half:]
    similarity = absolute(paired_dot(u, v) + paired_dot(b, c) - paired_dot(a, d))
    return row_values(_order_loss(y, scale * similarity, valid), valid, item_weight)


def _labelled_pairs(
    labels: Tensor, embeddings: Tensor, mask: Tensor | None
) -> tuple[Tensor, tuple[Tensor, Tensor], Tensor]:
    """Labels [B], the two texts [B, D] each, and the rows that count; 0 in the others."""
    x, valid = clean_rows(embeddings, mask)
    return ops.where(valid, row_labels(labels, x), 0.0), (x[:, 0], x[:, 1]), valid


def _threshold(d: Tensor, group: Tensor, other: Tensor, reduce: Callable[..., Tensor], filler: float) -> Tensor:
    """The extreme distance of a group; of an empty one the mean of the other."""
    count = ops.sum(ops.cast(other, d.dtype))
    mean = ops.sum(ops.where(other, d, 0.0)) / ops.where(count > 0, count, 1.0)
    return ops.where(ops.any(group), reduce(ops.where(group, d, filler)), mean)


def _order_loss(y: Tensor, scores: Tensor, valid: Tensor) -> Tensor:
    """ln(1 + Σ exp(s_i - s_j)) over the pairs with y_i < y_j, a scalar; 0 without one."""
    pairs = ops.logical_and(y[:, None] < y[None, :], ops.logical_and(valid[:, None], valid[None, :]))
    differences = ops.where(pairs, scores[:, None] - scores[None, :], lowest(scores))
    return -ops.log_sigmoid(-ops.logsumexp(ops.reshape(differences, (-1,))))


def _squared(y: Tensor, x: Tensor) -> Tensor:
    return ops.square(x - y)


def _absolute_error(y: Tensor, x: Tensor) -> Tensor:
    return absolute(x - y)


def _huber(y: Tensor, x: Tensor) -> Tensor:
    error = absolute(x - y)
    return ops.where(error <= 1, 0.5 * ops.square(error), error - 0.5)


_LOSSES: dict[str, Callable[..., Tensor]] = {"mse": _squared, "mae": _absolute_error, "huber": _huber}
_TRANSFORMS: dict[str, Callable[..., Tensor]] = {
    "identity": lambda x: x,
    "sigmoid": lambda x: ops.sigmoid(x),  # looked up when called, so that the backend is not imported before
    "tanh": lambda x: ops.tanh(x),
    "relu": lambda x: ops.relu(x),
}


def _named(functions: dict[str, Callable[..., Tensor]], spec: str | Callable[..., Tensor]) -> Callable[..., Tensor]:
    return functions[spec] if isinstance(spec, str) else spec


class _PairLossBase(EmbeddingLossBase):
    """A loss of two columns."""

    columns = (2, 2)


@register_loss("contrastive")
class ContrastiveLoss(_PairLossBase):
    r"""Pulls texts together that are alike, and pushes others apart up to a margin.

    $$\tfrac12 \big(y\, d^2 + (1 - y) \max(0, m - d)^2\big)$$

    with d the distance of the row's two texts. y_pred [B, 2, D]; y_true [B] from 0 (different) to 1 (alike), shares in
    between count for both. Without unit.

    Args:
        distance: `cosine` (1 - cosine), `euclidean`, `squared_euclidean` or `manhattan`.
        margin: m, at least 0, in units of the distance.
        size_average: true: the loss is the mean over the rows that count; false: their sum, which is what the rows'
            values, B times the terms, then have as their mean.

    Raises:
        ValueError: for shapes that do not fit, and in direct calls for labels outside 0 to 1.

    Source: Hadsell, Chopra, LeCun, "Dimensionality reduction by learning an invariant mapping" (2006).
    """

    function = staticmethod(contrastive)
    labels = "share"


@register_loss("online_contrastive")
class OnlineContrastiveLoss(_PairLossBase):
    r"""Contrastive loss over the hard pairs of the batch alone.

    $$[y = 1,\ d > t^+]\, d^2 + [y = 0,\ d < t^-] \max(0, m - d)^2$$

    t⁺ is the smallest distance of the different pairs of the batch, t⁻ the largest of those alike; without pairs of
    one kind, the mean distance of the other kind. Thresholds have no gradient. The values are the terms of the rows:
    sentence-transformers' loss is their sum (`reduction="sum"`). y_pred [B, 2, D]; y_true [B], 1 alike, 0 different.

    Args:
        distance: `cosine` (1 - cosine), `euclidean`, `squared_euclidean` or `manhattan`.
        margin: m, at least 0, in units of the distance.

    Raises:
        ValueError: for shapes that do not fit, and in direct calls for labels other than 0 and 1.

    Source: sentence-transformers.
    """

    function = staticmethod(online_contrastive)
    labels = "binary"


@register_loss("contrastive_tension")
class ContrastiveTensionLoss(_PairLossBase):
    r"""Tells by the dot product whether two encoders saw one text or two.

    $$-y \ln\sigma(u \cdot v) - (1 - y) \ln\sigma(-u \cdot v)$$

    u is the first encoder's embedding of a text, v the second's, both trained. The values are the terms of the rows:
    sentence-transformers' loss is their sum (`reduction="sum"`). In nats. y_pred [B, 2, D]; y_true [B], 1 where the
    two texts are the same, else 0.

    Raises:
        ValueError: for shapes that do not fit, and in direct calls for labels other than 0 and 1.

    Source: Carlsson et al., "Semantic re-tuning with contrastive tension" (2021).
    """

    function = staticmethod(contrastive_tension)
    labels = "binary"

    def default_batching(self, labelled: bool) -> str:
        return super().default_batching(labelled) if labelled else "contrastive_pairs"


@register_loss("cosine_similarity")
class CosineSimilarityLoss(_PairLossBase):
    r"""Error of the cosine of two texts against a similarity.

    $$\ell\big(y,\ f(\cos(u, v))\big)$$

    y_pred [B, 2, D]; y_true [B], what f of the cosine should be. In units of ℓ.

    Args:
        loss_fct: ℓ: `mse`, `mae`, `huber` (quadratic up to an error of 1), or in Python a function
            (y_true, y_pred) registered with Keras, which gets [B, 1].
        cos_score_transformation: f: None or `identity`, `sigmoid`, `tanh`, `relu`, or in Python a function registered
            with Keras.

    Raises:
        ValueError: for shapes that do not fit.

    Source: Reimers, Gurevych, "Sentence-BERT: sentence embeddings using Siamese BERT-networks" (2019).
    """

    function = staticmethod(cosine_similarity)
    labels = "number"


@register_loss("cosent")
class CoSENTLoss(_PairLossBase):
    r"""Puts the similarities of a batch's pairs into the order of their labels.

    $$\ln\Big(1 + \sum_{(i, j):\ y_i < y_j} e^{s_i - s_j}\Big), \qquad s = \lambda\, \mathrm{sim}(u, v)$$

    One number of the batch, which every row carries; it grows with the number of pairs. Labels matter by their order
    alone; tied ones make no pair, and no pair gives 0. In nats; memory B². y_pred [B, 2, D]; y_true [B].

    Args:
        scale: λ, above 0.
        similarity: `cosine`, `dot`, or minus the `euclidean` or `manhattan` distance.

    Raises:
        ValueError: for shapes that do not fit.

    Source: Su, CoSENT (2022); sentence-transformers.
    """

    function = staticmethod(cosent)
    labels = "number"


@register_loss("angle")
class AnglELoss(_PairLossBase):
    r"""CoSENT with the difference of angles in the complex plane, where a cosine is flat.

    $$\mathrm{sim}(u, v) = \frac{|u \cdot v + b \cdot c - a \cdot d|}{\lVert u \rVert\, \lVert v \rVert},
    \qquad u = (a, b),\ v = (c, d)$$

    The halves of an embedding are the real and the imaginary parts; see `CoSENTLoss` for what is done with the
    similarities. A zero embedding has the similarity 0. y_pred [B, 2, D] with an even D; y_true [B].

    Args:
        scale: λ, above 0.

    Raises:
        ValueError: for shapes that do not fit, an odd D among them.

    Source: Li, Li, "AnglE-optimized text embeddings" (2023).
    """

    function = staticmethod(angle)
    labels = "number"

    def check_shapes(self, y_true: Shape, y_pred: Shape) -> None:
        super().check_shapes(y_true, y_pred)
        if y_pred[-1] is None or y_pred[-1] % 2:
            raise UserError(
                f"{self.key!r} takes embeddings of an even size D, whose halves are real and imaginary parts. "
                f"Received: y_pred {show(y_pred)}."
            )
