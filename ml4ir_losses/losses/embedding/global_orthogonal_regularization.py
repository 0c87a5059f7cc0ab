"""Global orthogonal regularisation: embeddings of different texts should spread over the space."""

from __future__ import annotations

from typing import Any, Literal

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import NonNegative
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.losses.embedding.base import EmbeddingLossBase, clean_rows, row_values
from ml4ir_losses.ops.replicas import gather_rows, sum_over_replicas
from ml4ir_losses.ops.similarity import SIMILARITY_MATRIX, Similarity


def global_orthogonal_regularization(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    similarity: Similarity = "cosine",
    mean_weight: NonNegative | None = 1.0,
    second_moment_weight: NonNegative | None = 1.0,
    aggregation: Literal["mean", "sum"] = "mean",
) -> Tensor:
    """Per-row regulariser, [B], the same number in all rows: see `GlobalOrthogonalRegularizationLoss`.

    `labels` are ignored.
    """
    x, valid = clean_rows(embeddings, mask)
    (others, other_valid), first = gather_rows(x, valid)
    own, index = (ops.arange(ops.shape(rows)[0], dtype="int32") for rows in (x, others))
    different = (own + first)[:, None] != index[None, :]
    pairs = ops.logical_and(ops.logical_and(valid[:, None], other_valid[None, :]), different)
    sums = []
    for column in range(x.shape[1]):
        similarities = SIMILARITY_MATRIX[similarity](x[:, column], others[:, column])
        similarities = ops.where(pairs, similarities, 0.0)
        sums.append((ops.sum(similarities), ops.sum(ops.square(similarities))))
    count, sums = sum_over_replicas((ops.sum(ops.cast(pairs, x.dtype)), sums))
    count = ops.where(count > 0, count, 1.0)
    total = ops.zeros_like(count)
    for first_moment, second_moment in sums:
        mean, second_moment = first_moment / count, second_moment / count
        total = total + (mean_weight or 0.0) * ops.square(mean)
        total = total + (second_moment_weight or 0.0) * ops.relu(second_moment - 1.0 / x.shape[-1])
    return row_values(total / x.shape[1] if aggregation == "mean" else total, valid, item_weight)


@register_loss("global_orthogonal_regularization")
class GlobalOrthogonalRegularizationLoss(EmbeddingLossBase):
    r"""Regulariser that keeps the similarities of different texts of a column small and evenly spread.

    $$\frac{1}{C}\sum_c w_1 M_1^2 + w_2 \max\big(0,\ M_2 - 1/D\big), \qquad
    M_r = \frac{1}{B (B - 1)} \sum_{i \ne j} \mathrm{sim}(x_{ic}, x_{jc})^r$$

    One number for the batch, the value of every row; 0 for a batch of one row. Memory B². y_pred [B, C, D] or [B, D];
    y_true has B rows and is ignored. In squared units of the similarity. Meant as an addition to another loss.

    Args:
        similarity: `cosine`, `dot`, or minus the `euclidean` or `manhattan` distance.
        mean_weight: w₁, at least 0; None: 0.
        second_moment_weight: w₂, at least 0; None: 0.
        aggregation: `mean` over the columns, as above, or `sum`.
        min_label: no effect.

    Raises:
        ValueError: if both weights are 0, and for a y_pred of another rank.

    Source: Zhang et al., "Learning spread-out local feature descriptors" (2017).
    """

    function = staticmethod(global_orthogonal_regularization)
    columns = (1, None)
    in_batch = True

    def __init__(self, *args: str, **params: Any) -> None:
        super().__init__(*args, **params)
        if not self.params["mean_weight"] and not self.params["second_moment_weight"]:
            raise UserError(
                f"One of `mean_weight`, `second_moment_weight` of {self.key!r} must be above 0. Received: "
                f"{self.params['mean_weight']!r} and {self.params['second_moment_weight']!r}."
            )
