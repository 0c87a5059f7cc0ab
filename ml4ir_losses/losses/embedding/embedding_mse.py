"""Squared error of embeddings against a teacher's embeddings."""

from __future__ import annotations

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.core.shapes import Shape
from ml4ir_losses.losses.embedding.base import clean_rows, row_values
from ml4ir_losses.losses.embedding.teacher import TeacherLossBase, teacher_values


def embedding_mse(
    labels: Tensor, embeddings: Tensor, mask: Tensor | None = None, *, item_weight: Tensor | None = None
) -> Tensor:
    """Per-row squared error of embeddings, [B]: see `EmbeddingMSELoss`."""
    x, valid = clean_rows(embeddings, mask)
    error = ops.square(x - teacher_values(labels, valid, x)[:, None, :])
    return row_values(ops.sum(error, axis=(1, 2)) / (x.shape[1] * x.shape[2]), valid, item_weight)


@register_loss("embedding_mse")
class EmbeddingMSELoss(TeacherLossBase):
    r"""Squared error of embeddings against a teacher's embeddings.

    $$\frac{1}{C D} \sum_{c, d} (x_{cd} - t_d)^2$$

    y_pred [B, C, D], where each column (such as the same text in C languages) should have the teacher's embedding, or
    [B, D]; y_true [B, D]. In squared units of the embeddings.

    Raises:
        ValueError: for shapes that do not fit.

    Source: Reimers, Gurevych, "Making monolingual sentence embeddings multilingual using knowledge distillation"
    (2020).
    """

    function = staticmethod(embedding_mse)
    teacher_embeddings = "first"
    labels_share_dimensions = True
    columns = (1, None)
    wanted = "[B, D], a teacher's embedding of each row, for y_pred [B, C, D] or [B, D]"

    def widths(self, y_pred: Shape) -> tuple[int | None, ...]:
        return (y_pred[-1],)
