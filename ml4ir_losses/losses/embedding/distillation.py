"""Losses of embeddings against a teacher: its scores, its margins, its embeddings."""

from __future__ import annotations

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import Positive
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.core.shapes import Shape, show
from ml4ir_losses.losses.embedding.base import EmbeddingLossBase, clean_rows, row_values
from ml4ir_losses.losses.pairwise.margin_mse import margin_mse
from ml4ir_losses.ops.similarity import PAIRED_SIMILARITY, Similarity


def embedding_margin_mse(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    similarity: Similarity = "dot",
) -> Tensor:
    """Row values of the squared error of margins, [B]: see `EmbeddingMarginMSELoss`."""
    scores, valid = _scores(embeddings, mask, similarity)
    return row_values(margin_mse(_teacher(labels, valid, scores), scores), valid, item_weight)


def embedding_mse(
    labels: Tensor, embeddings: Tensor, mask: Tensor | None = None, *, item_weight: Tensor | None = None
) -> Tensor:
    """Row values of the squared error of embeddings, [B]: see `EmbeddingMSELoss`."""
    x, valid = clean_rows(embeddings, mask)
    error = ops.square(x - _teacher(labels, valid, x)[:, None, :])
    return row_values(ops.sum(error, axis=(1, 2)) / (x.shape[1] * x.shape[2]), valid, item_weight)


def distill_kl_div(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    similarity: Similarity = "dot",
    temperature: Positive = 1.0,
) -> Tensor:
    """Row values of the divergence from a teacher's scores, [B]: see `DistillKLDivLoss`."""
    scores, valid = _scores(embeddings, mask, similarity)
    teacher = ops.log_softmax(_teacher(labels, valid, scores) / temperature, axis=-1)
    student = ops.log_softmax(scores / temperature, axis=-1)
    divergence = ops.sum(ops.exp(teacher) * (teacher - student), axis=-1)
    return row_values(temperature**2 * divergence, valid, item_weight)


def _scores(embeddings: Tensor, mask: Tensor | None, similarity: str) -> tuple[Tensor, Tensor]:
    """Similarities of the first column to each of the others, [B, C-1], and the rows that count."""
    x, valid = clean_rows(embeddings, mask)
    return PAIRED_SIMILARITY[similarity](x[:, :1], x[:, 1:]), valid


def _teacher(labels: Tensor, valid: Tensor, like: Tensor) -> Tensor:
    """The teacher's numbers [B, n], 0 in rows that do not count; [B] is one number a row."""
    labels = ops.convert_to_tensor(labels)
    labels = labels[:, None] if len(labels.shape) == 1 else labels
    return ops.where(valid[:, None], ops.cast(labels, like.dtype), 0.0)


class _TeacherLossBase(EmbeddingLossBase):
    """A loss whose labels are numbers of a teacher."""

    labels = "teacher"
    wanted = ""

    def widths(self, y_pred: Shape) -> tuple[int | None, ...]:
        """How many numbers a row of labels may hold; 0: labels [B] without a second axis, None: any number."""
        raise NotImplementedError

    def check_shapes(self, y_true: Shape, y_pred: Shape) -> None:
        super().check_shapes(y_true, y_pred)
        width = 0 if len(y_true) == 1 else y_true[1]
        allowed = self.widths(y_pred)
        if len(y_true) > 2 or (width is not None and None not in allowed and width not in allowed):
            raise UserError(
                f"{self.key!r} takes y_true {self.wanted}. Received: y_true {show(y_true)}, y_pred {show(y_pred)}."
            )


@register_loss("embedding_margin_mse")
class EmbeddingMarginMSELoss(_TeacherLossBase):
    r"""Squared error of the margins between a query's positive and its negatives against a teacher's margins.

    $$\frac{1}{n} \sum_{j=1}^{n} \big(\mathrm{sim}(q, p) - \mathrm{sim}(q, n_j) - m_j\big)^2$$

    y_pred [B, 2+n, D]: query, positive, n negatives. y_true is one of: the teacher's scores [B, 1+n] of positive and
    negatives (m_j = y_0 - y_j), its margins m [B, n], or, for one negative, [B]. In squared units of the similarity.

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

    def widths(self, y_pred: Shape) -> tuple[int | None, ...]:
        columns = y_pred[1]
        if columns is None:
            return (None,)
        return (columns - 1, columns - 2, *([0] if columns == 3 else []))


@register_loss("embedding_mse")
class EmbeddingMSELoss(_TeacherLossBase):
    r"""Squared error of embeddings against a teacher's.

    $$\frac{1}{C D} \sum_{c, d} (x_{cd} - t_d)^2$$

    y_pred [B, C, D], each of whose columns (such as the same text in C languages) is to have the teacher's embedding,
    or [B, D]; y_true [B, D]. In squared units of the embeddings.

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


@register_loss("distill_kl_div")
class DistillKLDivLoss(_TeacherLossBase):
    r"""Divergence of a query's softmax over its candidates from a teacher's.

    $$T^2 \sum_j p_j \ln\frac{p_j}{q_j}, \qquad p = \mathrm{softmax}(y/T),\ q_j \propto e^{\mathrm{sim}(q, c_j)/T}$$

    y_pred [B, 1+n, D]: query, n candidates; y_true [B, n] the teacher's scores of the candidates. One candidate alone
    is worth 0. In nats.

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
