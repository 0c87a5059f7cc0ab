"""KL divergence between the softmax over a query's candidates and that of a teacher."""

from __future__ import annotations

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import Positive
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.core.shapes import Shape
from ml4ir_losses.losses.embedding.base import row_values
from ml4ir_losses.losses.embedding.teacher import TeacherLossBase, scores_of_candidates, teacher_values
from ml4ir_losses.ops.similarity import Similarity


def distill_kl_div(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    similarity: Similarity = "dot",
    temperature: Positive = 1.0,
) -> Tensor:
    """Per-row KL divergence from the softmax of a teacher's scores, [B]: see `DistillKLDivLoss`."""
    scores, valid = scores_of_candidates(embeddings, mask, similarity)
    teacher = ops.log_softmax(teacher_values(labels, valid, scores) / temperature, axis=-1)
    student = ops.log_softmax(scores / temperature, axis=-1)
    divergence = ops.sum(ops.exp(teacher) * (teacher - student), axis=-1)
    return row_values(temperature**2 * divergence, valid, item_weight)


@register_loss("distill_kl_div")
class DistillKLDivLoss(TeacherLossBase):
    r"""KL divergence between the softmax over a query's candidates and that of a teacher.

    $$T^2 \sum_j p_j \ln\frac{p_j}{q_j}, \qquad p = \mathrm{softmax}(y/T),\ q_j \propto e^{\mathrm{sim}(q, c_j)/T}$$

    y_pred [B, 1+n, D]: query, n candidates; y_true [B, n] the teacher's scores of the candidates. With a single
    candidate the loss is 0. In nats.

    Args:
        similarity: `dot`, `cosine`, or minus the `euclidean` or `manhattan` distance.
        temperature: T, above 0.

    Raises:
        ValueError: for shapes that do not fit.

    Source: Hinton, Vinyals, Dean, "Distilling the knowledge in a neural network" (2015); sentence-transformers.
    """

    function = staticmethod(distill_kl_div)
    columns = (2, None)
    wanted = "[B, n], the teacher's scores of the n candidates, for y_pred [B, 1+n, D]"

    def widths(self, y_pred: Shape) -> tuple[int | None, ...]:
        columns = y_pred[1]
        return (None,) if columns is None else (columns - 1, *([0] if columns == 2 else []))
