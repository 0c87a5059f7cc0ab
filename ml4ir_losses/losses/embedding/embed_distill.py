"""Distillation of embeddings: their distance from a teacher's embeddings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import PositiveInt
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.core.shapes import Shape
from ml4ir_losses.losses.embedding.base import clean_rows, row_values
from ml4ir_losses.losses.embedding.teacher import TeacherLossBase
from ml4ir_losses.ops.similarity import PAIRED_DISTANCE


def embed_distill(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    distance: Literal["cosine", "euclidean", "mse"] = "cosine",
) -> Tensor:
    """Per-row distance from a teacher's embeddings, [B]: see `EmbedDistillLoss`."""
    x, valid = clean_rows(embeddings, mask)
    teacher, _ = clean_rows(ops.stop_gradient(ops.cast(ops.convert_to_tensor(labels), x.dtype)), valid)
    distances = _DISTANCE[distance](x, teacher)  # [B, C]: [B, 1, D] is the teacher of every column
    return row_values(ops.sum(distances, axis=1) / x.shape[1], valid, item_weight)


def embedding_mse(
    labels: Tensor, embeddings: Tensor, mask: Tensor | None = None, *, item_weight: Tensor | None = None
) -> Tensor:
    """Per-row squared error of embeddings, [B]: see `EmbeddingMSELoss`."""
    return embed_distill(labels, embeddings, mask, item_weight=item_weight, distance="mse")


def _mean_squared_error(x: Tensor, teacher: Tensor) -> Tensor:
    return ops.sum(ops.square(x - teacher), axis=-1) / x.shape[-1]


_DISTANCE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cosine": PAIRED_DISTANCE["cosine"],
    "euclidean": PAIRED_DISTANCE["euclidean"],
    "mse": _mean_squared_error,
}


@register_loss("embed_distill")
class EmbedDistillLoss(TeacherLossBase):
    r"""Distance of embeddings from a teacher's embeddings.

    $$\frac{1}{C} \sum_{c} d(x_c, t_c)$$

    y_pred [B, C, D] or [B, D]; y_true [B, C, D], the teacher's embedding of each text, or [B, D], one for all C columns
    (such as the same text in C languages). In units of the distance.

    Args:
        distance: d: `cosine` (1 - cosine), `euclidean` or `mse`, the mean over the dimensions of the squared error.
        projection_dim: D, if it differs from the size of the student's embeddings: an `EmbeddingModel` then trains a
            linear layer that maps these to y_pred. None: y_pred are the student's embeddings.

    Raises:
        ValueError: for shapes that do not fit.

    Source: Kim et al., "EmbedDistill: a geometric knowledge distillation for information retrieval" (2023).
    """

    function = staticmethod(embed_distill)
    teacher_embeddings = "first"
    labels_share_dimensions = True
    columns = (1, None)
    step_parameters = {"projection_dim": PositiveInt | None}
    wanted = "[B, D] or [B, C, D], a teacher's embedding of each row or of each text, for y_pred [B, C, D] or [B, D]"

    def __init__(self, *args: str, **params: Any) -> None:
        super().__init__(*args, **params)
        self.head = "" if self.params["projection_dim"] is None else "projection"

    def label_shapes(self, y_pred: Shape) -> tuple[Shape, ...]:
        columns = 1 if len(y_pred) == 2 else y_pred[1]
        return ((y_pred[-1],), (columns, y_pred[-1]))


@register_loss("embedding_mse")
class EmbeddingMSELoss(EmbedDistillLoss):
    r"""Squared error of embeddings against a teacher's embeddings.

    $$\frac{1}{C D} \sum_{c, d} (x_{cd} - t_{cd})^2$$

    y_pred [B, C, D] or [B, D]; y_true [B, C, D], the teacher's embedding of each text, or [B, D], one for all C columns
    (such as the same text in C languages). In squared units of the embeddings.

    Args:
        projection_dim: D, if it differs from the size of the student's embeddings: an `EmbeddingModel` then trains a
            linear layer that maps these to y_pred. None: y_pred are the student's embeddings.

    Raises:
        ValueError: for shapes that do not fit.

    Source: Reimers, Gurevych, "Making monolingual sentence embeddings multilingual using knowledge distillation"
    (2020).
    """

    function = staticmethod(embedding_mse)  # type: ignore[assignment]
