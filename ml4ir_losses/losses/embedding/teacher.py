"""Shared by distillation losses: the teacher's values and the student's scores."""

from __future__ import annotations

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.shapes import Shape, differ, show
from ml4ir_losses.losses.embedding.base import EmbeddingLossBase, clean_rows
from ml4ir_losses.ops.similarity import PAIRED_SIMILARITY


class TeacherLossBase(EmbeddingLossBase):
    """A distillation loss: y_true holds the values of a teacher."""

    labels = "teacher"
    wanted = ""

    def label_shapes(self, y_pred: Shape) -> tuple[Shape, ...]:
        """The allowed shapes of a row of y_true; None stands for any size."""
        raise NotImplementedError

    def check_shapes(self, y_true: Shape, y_pred: Shape) -> None:
        super().check_shapes(y_true, y_pred)
        row = tuple(y_true[1:])
        for allowed in self.label_shapes(y_pred):
            if len(row) == len(allowed) and not any(differ(a, b) for a, b in zip(row, allowed, strict=True)):
                return
        raise UserError(
            f"{self.key!r} takes y_true {self.wanted}. Received: y_true {show(y_true)}, y_pred {show(y_pred)}."
        )


def scores_of_candidates(embeddings: Tensor, mask: Tensor | None, similarity: str) -> tuple[Tensor, Tensor]:
    """Similarities of the first column to each other column, [B, C-1], and the mask [B]."""
    x, valid = clean_rows(embeddings, mask)
    return PAIRED_SIMILARITY[similarity](x[:, :1], x[:, 1:]), valid


def teacher_scores(labels: Tensor, valid: Tensor, like: Tensor) -> Tensor:
    """The teacher's scores [B, n], 0 in masked rows; [B] becomes [B, 1]."""
    labels = ops.convert_to_tensor(labels)
    labels = labels[:, None] if len(labels.shape) == 1 else labels
    return ops.where(valid[:, None], ops.cast(labels, like.dtype), 0.0)
