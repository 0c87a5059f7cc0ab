"""CoSENT and AnglE: pairs of texts whose similarities follow the order of their labels."""

from __future__ import annotations

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import Positive
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.core.shapes import Shape, show
from ml4ir_losses.losses.embedding.base import EmbeddingLossBase, clean_rows, labelled_pairs, row_labels, row_values
from ml4ir_losses.ops import lowest
from ml4ir_losses.ops.replicas import gather_rows
from ml4ir_losses.ops.similarity import PAIRED_SIMILARITY, Similarity, absolute, paired_dot, unit_vectors


def cosent(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    scale: Positive = 20.0,
    similarity: Similarity = "cosine",
) -> Tensor:
    """Per-row values of CoSENT, [B], the same number in all rows: see `CoSENTLoss`."""
    y, (a, b), valid = labelled_pairs(labels, embeddings, mask)
    return row_values(_order_loss(y, scale * PAIRED_SIMILARITY[similarity](a, b), valid), valid, item_weight)


def angle(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    scale: Positive = 20.0,
) -> Tensor:
    """Per-row values of AnglE, [B], the same number in all rows: see `AnglELoss`."""
    x, valid = clean_rows(embeddings, mask)
    y = ops.ones_like(x[:, 0, 0]) if labels is None else ops.where(valid, row_labels(labels, x), 0.0)
    texts = x.shape[1] - 1
    # The pairs of the anchor with the positive, then with each negative, whose labels are the opposite.
    pair_labels = ops.concatenate([y, *[1.0 - y] * (texts - 1)])
    similarities = ops.concatenate([_angle_similarity(x[:, 0], x[:, 1 + text]) for text in range(texts)])
    value = _order_loss(pair_labels, scale * similarities, ops.tile(valid, (texts,)))
    return row_values(value, valid, item_weight)


def _angle_similarity(u: Tensor, v: Tensor) -> Tensor:
    u, v = unit_vectors(u), unit_vectors(v)
    half = u.shape[-1] // 2
    a, b, c, d = u[:, :half], u[:, half:], v[:, :half], v[:, half:]
    return absolute(paired_dot(u, v) + paired_dot(b, c) - paired_dot(a, d))


def _order_loss(y: Tensor, scores: Tensor, valid: Tensor) -> Tensor:
    """ln(1 + Σ exp(s_i - s_j)) over the pairs with y_i < y_j of all replicas, a scalar; 0 without pairs."""
    (higher, other_scores, other_valid), _ = gather_rows(y, scores, valid)
    pairs = ops.logical_and(y[:, None] < higher[None, :], ops.logical_and(valid[:, None], other_valid[None, :]))
    differences = ops.where(pairs, scores[:, None] - other_scores[None, :], lowest(scores))
    (totals,), _ = gather_rows(ops.logsumexp(ops.reshape(differences, (1, -1)), axis=1))
    return -ops.log_sigmoid(-ops.logsumexp(totals))


@register_loss("cosent")
class CoSENTLoss(EmbeddingLossBase):
    r"""CoSENT: the similarities of the pairs of a batch should be in the order of their labels.

    $$\ln\Big(1 + \sum_{(i, j):\ y_i < y_j} e^{s_i - s_j}\Big), \qquad s = \lambda\, \mathrm{sim}(u, v)$$

    One number for the batch, the value of every row; it grows with the number of pairs (i, j). Only the order of the
    labels matters; equal labels form no pair, and without pairs the loss is 0. In nats; memory B². y_pred [B, 2, D];
    y_true [B].

    Args:
        scale: λ, above 0.
        similarity: `cosine`, `dot`, or minus the `euclidean` or `manhattan` distance.

    Raises:
        ValueError: for shapes that do not fit.

    Source: Su, CoSENT (2022); sentence-transformers.
    """

    function = staticmethod(cosent)
    columns = (2, 2)
    labels = "number"


@register_loss("angle")
class AnglELoss(EmbeddingLossBase):
    r"""AnglE: CoSENT on the angle difference in the complex plane, whose gradient does not saturate like a cosine's.

    $$\mathrm{sim}(u, v) = \frac{|u \cdot v + b \cdot c - a \cdot d|}{\lVert u \rVert\, \lVert v \rVert},
    \qquad u = (a, b),\ v = (c, d)$$

    The two halves of an embedding are the real and the imaginary part; the loss of the similarities is that of
    `CoSENTLoss`. A zero embedding has the similarity 0. y_pred [B, 2, D] with an even D; y_true [B]. Or y_pred [B, C,
    D]: anchor, positive, C - 2 negatives. Then every negative is one more pair with the anchor, with the label 1 - y,
    and y is 1 for unlabelled data.

    Args:
        scale: λ, above 0.

    Raises:
        ValueError: for shapes that do not fit, an odd D among them.

    Source: Li, Li, "AnglE-optimized text embeddings" (2023).
    """

    function = staticmethod(angle)
    labels = "number"

    def needs_labels(self, columns: int) -> bool:
        return columns == 2

    def check_shapes(self, y_true: Shape, y_pred: Shape) -> None:
        super().check_shapes(y_true, y_pred)
        if y_pred[-1] is None or y_pred[-1] % 2:
            raise UserError(
                f"{self.key!r} takes embeddings of an even size D, whose halves are real and imaginary parts. "
                f"Received: y_pred {show(y_pred)}."
            )
