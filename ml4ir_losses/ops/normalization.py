"""From weighted terms to one value per query."""

from __future__ import annotations

from typing import Literal, get_args

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.ops.masking import row_sum, safe_divide
from ml4ir_losses.ops.replicas import row_number, sum_over_replicas

Normalization = Literal["query", "batch", "sum"]
NORMALIZATIONS: tuple[str, ...] = get_args(Normalization)


def normalise(total: Tensor, weight: Tensor, normalization: str) -> Tensor:
    """One value per query, [B], from its weighted sum of terms and its sum of weights, [B] each.

    `query`: total / weight. `batch`: B · total / Σ_batch weight, whose mean is the mean over all terms of the batch.
    `sum`: total. 0 / 0 is 0. The batch is that of all replicas.
    """
    if normalization == "query":
        return safe_divide(total, weight)
    if normalization == "batch":
        rows, whole = sum_over_replicas((row_number(total), ops.sum(weight)))
        return safe_divide(rows * total, whole * ops.ones_like(total))
    return total


def list_weight(labels: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """The weight of each list, [B]: Σ w·y / Σ y, or the plain mean of w where no label is positive."""
    gain = ops.relu(labels)
    has_gain = row_sum(gain)[:, None] > 0
    share = ops.where(has_gain, gain, ops.cast(mask, labels.dtype))
    return safe_divide(row_sum(weight * share), row_sum(share))
