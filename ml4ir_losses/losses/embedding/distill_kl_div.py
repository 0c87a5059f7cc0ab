"""KL divergence between the softmax over a query's candidates and that of a teacher."""

from __future__ import annotations

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import Positive
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.core.shapes import Shape
from ml4ir_losses.losses.embedding.base import row_values
from ml4ir_losses.losses.embedding.teacher import TeacherLossBase, scores_of_candidates, teacher_scores
from ml4ir_losses.ops.similarity import Similarity


def distill_kl_div(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    similarity: Similarity = "dot",
    temperature: Positive = 1.0,
    student_temperature: Positive | None = None,
    teacher_temperature: Positive | None = None,
) -> Tensor:
    """Per-row KL divergence from the softmax of a teacher's scores, [B]: see `DistillKLDivLoss`."""
    scores, valid = scores_of_candidates(embeddings, mask, similarity)
    of_student = temperature if student_temperature is None else student_temperature
    of_teacher = temperature if teacher_temperature is None else teacher_temperature
    teacher = ops.log_softmax(teacher_scores(labels, valid, scores) / of_teacher, axis=-1)
    student = ops.log_softmax(scores / of_student, axis=-1)
    divergence = ops.sum(ops.exp(teacher) * (teacher - student), axis=-1)
    return row_values(of_student**2 * divergence, valid, item_weight)


@register_loss("distill_kl_div")
class DistillKLDivLoss(TeacherLossBase):
    r"""KL divergence between the softmax over a query's candidates and that of a teacher.

    $$T_s^2 \sum_j p_j \ln\frac{p_j}{q_j}, \qquad
    p = \mathrm{softmax}(y/T_t),\ q_j \propto e^{\mathrm{sim}(q, c_j)/T_s}$$

    y_pred [B, 1+n, D]: query, n candidates; y_true [B, n] the teacher's scores of the candidates. With a single
    candidate the loss is 0. In nats.

    Args:
        similarity: `dot`, `cosine`, or minus the `euclidean` or `manhattan` distance.
        temperature: T_s and T_t, above 0.
        student_temperature: T_s, above 0; None: `temperature`.
        teacher_temperature: T_t, above 0; None: `temperature`.

    Raises:
        ValueError: for shapes that do not fit.

    Source: Hinton, Vinyals, Dean, "Distilling the knowledge in a neural network" (2015); sentence-transformers.
    """

    function = staticmethod(distill_kl_div)
    columns = (2, None)
    wanted = "[B, n], the teacher's scores of the n candidates, for y_pred [B, 1+n, D]"

    def label_shapes(self, y_pred: Shape) -> tuple[Shape, ...]:
        columns = y_pred[1]
        if columns is None:
            return ((None,), ())
        return ((columns - 1,), *([()] if columns == 2 else []))
