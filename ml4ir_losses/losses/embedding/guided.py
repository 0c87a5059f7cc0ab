"""GISTEmbed: in-batch negatives, without those that a guide model finds too similar."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor, keras, ops
from ml4ir_losses.core.parameters import NonNegative, Positive
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.core.shapes import Shape, show
from ml4ir_losses.losses.embedding.base import CACHED, CACHED_DEFAULTS, EmbeddingLossBase, clean_rows, row_values
from ml4ir_losses.ops.in_batch import Candidates, logsumexp_of_dots
from ml4ir_losses.ops.replicas import gather_rows
from ml4ir_losses.ops.similarity import dot_matrix, paired_dot, unit_vectors


def gist_embed(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: Positive = 0.01,
    margin_strategy: Literal["absolute", "relative"] = "absolute",
    margin: NonNegative = 0.0,
    contrast_anchors: bool = True,
    contrast_positives: bool = True,
) -> Tensor:
    """Per-row values of the guided in-batch cross entropy, [B]: see `GISTEmbedLoss`.

    `labels` are the guide's embeddings, [B, C, Dg].
    """
    x, valid = clean_rows(embeddings, mask)
    guide, _ = clean_rows(ops.stop_gradient(ops.convert_to_tensor(labels)), valid)
    x, guide = unit_vectors(x), unit_vectors(guide)
    guide_score = paired_dot(guide[:, 0], guide[:, 1])
    limit = guide_score - margin * (ops.abs(guide_score) if margin_strategy == "relative" else 1.0)
    # Equal cosines differ by rounding; a copy of the positive must not count as more similar than the positive itself.
    limit = limit + 16 * float(np.finfo(keras.backend.standardize_dtype(guide.dtype)).eps)

    (others, other_guide, other_valid), first = gather_rows(x, guide, valid)
    own, index = (ops.arange(ops.shape(rows)[0], dtype="int32") for rows in (x, others))
    own = own + first
    no_row = ops.zeros_like(index) - 1  # the row's own hard negatives are candidates too
    columns = [1, *([0] if contrast_anchors else []), *range(2, x.shape[1])]
    candidate_fields = (
        ops.concatenate([index if column < 2 else no_row for column in columns]),
        ops.tile(other_valid, (len(columns),)),
        ops.concatenate([other_guide[:, column] for column in columns]),
    )
    anchors, texts = x[:, 0] / temperature, ops.concatenate([others[:, column] for column in columns])
    negatives = logsumexp_of_dots(anchors, texts, Candidates(_is_negative, (own, limit, guide[:, 0]), candidate_fields))
    if contrast_positives:
        positive_pairs = Candidates(_is_negative, (own, limit, guide[:, 1]), (index, other_valid, other_guide[:, 1]))
        positives = logsumexp_of_dots(x[:, 1] / temperature, others[:, 1], positive_pairs)
        negatives = ops.logsumexp(ops.stack([negatives, positives], axis=-1), axis=-1)
    target = paired_dot(anchors, x[:, 1])
    return row_values(-ops.log_sigmoid(target - negatives), valid, item_weight)


def _is_negative(
    row: Tensor, limit: Tensor, row_guide: Tensor, candidate: Tensor, valid: Tensor, candidate_guide: Tensor
) -> Tensor:
    """Boolean mask [R, M]: valid candidates of other rows whose guide similarity is within the row's limit."""
    other_row = ops.logical_and(row[:, None] != candidate[None, :], valid[None, :])
    return ops.logical_and(other_row, dot_matrix(row_guide, candidate_guide) <= limit[:, None])


@register_loss("gist_embed")
class GISTEmbedLoss(EmbeddingLossBase):
    r"""GISTEmbed: in-batch cross entropy without the negatives that a guide model finds too similar.

    $$\ln\Big(e^{s_i} + \sum_{(x,y) \in N_i} e^{\cos(x,y)/T}\Big) - s_i, \qquad s_i = \cos(a_i, p_i)/T$$
    $$N_i = \{(x,y):\ \cos_G(x,y) \le g_i - m\}, \qquad g_i = \cos_G(a_i, p_i)$$
    over the pairs (a_i, p_j), (a_i, a_j) and (p_i, p_j) with other rows j, and (a_i, n_j) with the hard negatives of
    every row j; cos_G is the cosine of the guide's embeddings.

    y_pred [B, C, D]: anchor, positive and any number of hard negatives; y_true [B, C, Dg]: the guide's embeddings of
    the same texts, which get no gradient. In nats. Similarities are computed in blocks of rows.

    Args:
        temperature: T, above 0.
        margin_strategy: `absolute` as above; `relative`: the limit is g_i - m·|g_i|, which is never above g_i.
        margin: m, at least 0.
        contrast_anchors: include the pairs (a_i, a_j).
        contrast_positives: include the pairs (p_i, p_j).
        min_label: no effect.

    Raises:
        ValueError: unless y_pred and y_true have the same number of columns, at least two.

    Source: Solatorio, "GISTEmbed: guided in-sample selection of training negatives for text embedding fine-tuning"
    (2024).
    """

    function = staticmethod(gist_embed)
    labels = "teacher"
    teacher_embeddings = "all"
    in_batch = True

    def check_shapes(self, y_true: Shape, y_pred: Shape) -> None:
        super().check_shapes(y_true, y_pred)
        if len(y_true) != 3 or (None not in (y_true[1], y_pred[1]) and y_true[1] != y_pred[1]):
            raise UserError(
                f"{self.key!r} takes as y_true the guide's embeddings of the texts in y_pred, [B, C, Dg]. "
                f"Received: y_true {show(y_true)}, y_pred {show(y_pred)}."
            )


@register_loss("cached_gist_embed")
class CachedGISTEmbedLoss(GISTEmbedLoss):
    r"""`gist_embed` with GradCache, for batches whose texts do not fit into memory at once.

    $$\ln\Big(e^{s_i} + \sum_{(x,y) \in N_i} e^{\cos(x,y)/T}\Big) - s_i, \qquad s_i = \cos(a_i, p_i)/T$$

    Value and gradient are the same; shapes are those of `GISTEmbedLoss`. In nats.

    Args:
        temperature: T, above 0.
        margin_strategy: `absolute`, or `relative`: the margin is a share of the guide's cosine.
        margin: m, at least 0.
        contrast_anchors: include pairs of anchors.
        contrast_positives: include pairs of positives.
        mini_batch_size: number of rows that a model embeds at a time; does not change the value.
        show_progress_bar: kept for sentence-transformers, no effect.
        min_label: no effect.

    Raises:
        ValueError: unless y_pred and y_true have the same number of columns, at least two.

    Source: Solatorio, "GISTEmbed: guided in-sample selection of training negatives for text embedding fine-tuning"
    (2024); Gao et al., "Scaling deep contrastive learning batch size under memory limited setup" (2021).
    """

    cached: ClassVar[bool] = True
    step_parameters = CACHED
    defaults = CACHED_DEFAULTS
