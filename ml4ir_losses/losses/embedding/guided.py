"""In-batch negatives without those that a guide model finds too similar to the positive."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor, keras, ops
from ml4ir_losses.core.parameters import NonNegative, Positive
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.core.shapes import Shape, show
from ml4ir_losses.losses.embedding.base import EmbeddingLossBase, clean_rows, row_values
from ml4ir_losses.losses.embedding.in_batch import CACHED, CACHED_DEFAULTS
from ml4ir_losses.ops.in_batch import logsumexp_of_dots
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
    """Row values of the guided cross entropy among in-batch negatives, [B]: see `GISTEmbedLoss`.

    `labels` are the guide's embeddings, [B, C, Dg].
    """
    x, valid = clean_rows(embeddings, mask)
    guide, _ = clean_rows(ops.stop_gradient(ops.convert_to_tensor(labels)), valid)
    x, guide = unit_vectors(x), unit_vectors(guide)
    alike = paired_dot(guide[:, 0], guide[:, 1])
    limit = alike - margin * (ops.abs(alike) if margin_strategy == "relative" else 1.0)
    # Cosines that are equal differ by rounding: of two equal positives none is taken for more alike.
    limit = limit + 16 * float(np.finfo(keras.backend.standardize_dtype(guide.dtype)).eps)

    rows = ops.shape(x)[0]
    index = ops.arange(rows, dtype="int32")
    no_row = ops.zeros_like(index) - 1  # a row's own negatives are candidates
    texts = [1, *([0] if contrast_anchors else []), *range(2, x.shape[1])]
    facts = (
        ops.concatenate([index if text < 2 else no_row for text in texts]),
        ops.tile(valid, (len(texts),)),
        ops.concatenate([guide[:, text] for text in texts]),
    )
    anchors, columns = x[:, 0] / temperature, ops.concatenate([x[:, text] for text in texts])
    others = logsumexp_of_dots(anchors, columns, _not_too_alike, (index, limit, guide[:, 0]), facts)
    if contrast_positives:
        facts, near = (index, valid, guide[:, 1]), (index, limit, guide[:, 1])
        more = logsumexp_of_dots(x[:, 1] / temperature, x[:, 1], _not_too_alike, near, facts)
        others = ops.logsumexp(ops.stack([others, more], axis=-1), axis=-1)
    target = paired_dot(anchors, x[:, 1])
    return row_values(-ops.log_sigmoid(target - others), valid, item_weight)


def _not_too_alike(row: Tensor, limit: Tensor, guide: Tensor, column: Tensor, real: Tensor, guided: Tensor) -> Tensor:
    """Real candidates of other rows that the guide finds no more like this one than its positive."""
    other = ops.logical_and(row[:, None] != column[None, :], real[None, :])
    return ops.logical_and(other, dot_matrix(guide, guided) <= limit[:, None])


@register_loss("gist_embed")
class GISTEmbedLoss(EmbeddingLossBase):
    r"""Cross entropy of an anchor's positive among in-batch negatives, without those that a guide finds too alike.

    $$\ln\Big(e^{s_i} + \sum_{(x,y) \in N_i} e^{\cos(x,y)/T}\Big) - s_i, \qquad s_i = \cos(a_i, p_i)/T$$
    $$N_i = \{(x,y):\ \cos_G(x,y) \le g_i - m\}, \qquad g_i = \cos_G(a_i, p_i)$$
    over the pairs (a_i, p_j), (a_i, a_j) and (p_i, p_j) with other rows j, and (a_i, n_j) with every row's negatives.
    G is the guide.

    y_pred [B, C, D]: anchor, positive, and as many negatives as there are; y_true [B, C, Dg]: the guide's embeddings
    of the same texts, which get no gradient. In nats. Of the similarities only a block of rows at a time is in memory.

    Args:
        temperature: T, above 0.
        margin_strategy: `absolute` as above; `relative`: the limit is g_i - m·|g_i|, which is never above g_i.
        margin: m, at least 0.
        contrast_anchors: whether the pairs (a_i, a_j) count.
        contrast_positives: whether the pairs (p_i, p_j) count.
        min_label: no effect.

    Raises:
        ValueError: unless y_pred and y_true hold the same columns, two at least.

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
    r"""`gist_embed` for batches whose texts do not fit into memory at once.

    $$\ln\Big(e^{s_i} + \sum_{(x,y) \in N_i} e^{\cos(x,y)/T}\Big) - s_i, \qquad s_i = \cos(a_i, p_i)/T$$

    Value and gradient are the same; shapes are those of `GISTEmbedLoss`. In nats.

    Args:
        temperature: T, above 0.
        margin_strategy: `absolute`, or `relative`: the margin is a share of the guide's cosine.
        margin: m, at least 0.
        contrast_anchors: whether pairs of anchors count.
        contrast_positives: whether pairs of positives count.
        mini_batch_size: how many rows a model embeds at a time; never changes the value.
        show_progress_bar: kept from sentence-transformers, no effect.
        min_label: no effect.

    Raises:
        ValueError: unless y_pred and y_true hold the same columns, two at least.

    Source: Solatorio, "GISTEmbed: guided in-sample selection of training negatives for text embedding fine-tuning"
    (2024); Gao et al., "Scaling deep contrastive learning batch size under memory limited setup" (2021).
    """

    cached: ClassVar[bool] = True
    step_parameters = CACHED
    defaults = {"min_label": None, **CACHED_DEFAULTS}
