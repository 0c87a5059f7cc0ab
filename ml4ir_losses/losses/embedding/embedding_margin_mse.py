"""Squared error of the margins of similarities against a teacher's margins."""

from __future__ import annotations

from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.core.shapes import Shape
from ml4ir_losses.losses.embedding.base import row_values
from ml4ir_losses.losses.embedding.teacher import TeacherLossBase, scores_of_candidates, teacher_scores
from ml4ir_losses.losses.pairwise.margin_mse import margin_mse
from ml4ir_losses.ops.similarity import Similarity


def embedding_margin_mse(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    similarity: Similarity = "dot",
) -> Tensor:
    """Per-row squared error of margins, [B]: see `EmbeddingMarginMSELoss`."""
    scores, valid = scores_of_candidates(embeddings, mask, similarity)
    return row_values(margin_mse(teacher_scores(labels, valid, scores), scores), valid, item_weight)


@register_loss("embedding_margin_mse")
class EmbeddingMarginMSELoss(TeacherLossBase):
    r"""Squared error of the margins between positive and negatives against a teacher's margins.

    $$\frac{1}{n} \sum_{j=1}^{n} \big(\mathrm{sim}(q, p) - \mathrm{sim}(q, n_j) - m_j\big)^2$$

    y_pred [B, 2+n, D]: query, positive, n negatives. y_true is the teacher's scores [B, 1+n] of positive and
    negatives (m_j = y_0 - y_j), or its margins m [B, n], or [B] for one negative. In squared units of the similarity.

    Args:
        similarity: `dot`, `cosine`, or minus the `euclidean` or `manhattan` distance.

    Raises:
        ValueError: for shapes that do not fit.

    Source: Hofstätter et al., "Improving efficient neural ranking models with cross-architecture knowledge
    distillation" (2020).
    """

    function = staticmethod(embedding_margin_mse)
    columns = (3, None)
    wanted = "[B, 1+n] teacher scores or [B, n] margins of the n negatives, or [B] margins where n is 1"

    def label_shapes(self, y_pred: Shape) -> tuple[Shape, ...]:
        columns = y_pred[1]
        if columns is None:
            return ((None,), ())
        return ((columns - 1,), (columns - 2,), *([()] if columns == 3 else []))
