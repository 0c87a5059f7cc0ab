"""Margins of a row's positive and of the hardest negative in the batch."""

from __future__ import annotations

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import PositiveInt
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.losses.embedding.base import EmbeddingLossBase, clean_rows, row_values
from ml4ir_losses.losses.embedding.in_batch import is_candidate
from ml4ir_losses.ops.in_batch import Candidates, hardest_columns
from ml4ir_losses.ops.replicas import gather_rows
from ml4ir_losses.ops.similarity import paired_cosine, unit_vectors


def mega_batch_margin(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    positive_margin: float = 0.8,
    negative_margin: float = 0.3,
    mini_batch_size: PositiveInt = 50,
) -> Tensor:
    """Per-row values of the margins of the positive and the hardest negative, [B]: see `MegaBatchMarginLoss`.

    `labels` are ignored.
    """
    x, valid = clean_rows(embeddings, mask)
    anchors, positives = unit_vectors(x[:, 0]), unit_vectors(x[:, 1])
    (others, other_valid), first = gather_rows(positives, valid)
    own, index = (ops.arange(ops.shape(rows)[0], dtype="int32") for rows in (x, others))
    candidates = Candidates(is_candidate, (own + first,), (index, other_valid))
    hardest = hardest_columns(anchors, others, candidates, mini_batch_size)
    negative = paired_cosine(anchors, ops.take(others, hardest, axis=0))
    pull = ops.relu(positive_margin - paired_cosine(anchors, positives))
    push = ops.relu(negative - negative_margin)
    is_only_row = ops.sum(ops.cast(other_valid, x.dtype)) < 2
    return row_values(pull + ops.where(is_only_row, 0.0, push), valid, item_weight)


@register_loss("mega_batch_margin")
class MegaBatchMarginLoss(EmbeddingLossBase):
    r"""Mega-batch margin loss: margins on the cosine of the positive and on that of the hardest negative of the batch.

    $$\max(0,\ m_+ - \cos(a_i, p_i)) + \max(0,\ \max_{j \ne i}\cos(a_i, p_j) - m_-)$$

    y_pred [B, 2, D]: anchor and positive; y_true has B rows and is ignored. The second term is 0 in a batch of one row.
    The hardest negative is found in blocks of rows, so that memory is `mini_batch_size`·B.

    Args:
        positive_margin: m₊, the cosine above which a positive costs nothing.
        negative_margin: m₋, the cosine below which a negative costs nothing.
        mini_batch_size: rows of a block; does not change the value.
        min_label: no effect.

    Raises:
        ValueError: for a y_pred that is not [B, 2, D].

    Source: Wieting, Gimpel, "ParaNMT-50M: pushing the limits of paraphrastic sentence embeddings with millions of
    machine translations" (2018).
    """

    function = staticmethod(mega_batch_margin)
    columns = (2, 2)
    in_batch = True
