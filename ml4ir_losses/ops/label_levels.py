"""Labels of few different values, such as grades, as indicators of their level in the list."""

from __future__ import annotations

from typing import Any, NamedTuple

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.ops.masking import lowest


class LabelLevels(NamedTuple):
    """The levels of the labels of each list, the highest first.

    Args:
        indicators: [B, N, L], 1 at the level of a document, 0 elsewhere and in padding.
        complete: a boolean scalar, False if a list has more than L different labels; some documents have no level then.
    """

    indicators: Tensor
    complete: Tensor


def label_levels(labels: Tensor, mask: Tensor, most: int) -> LabelLevels:
    """The levels of lists with at most `most` different labels; no gradient."""
    low = lowest(labels)
    left, highest = ops.where(mask, ops.stop_gradient(labels), low), []
    for _ in range(most):
        highest.append(ops.max(left, axis=1, keepdims=True))
        left = ops.where(left < highest[-1], left, low)
    values = ops.concatenate(highest, axis=1)
    given = ops.where(mask, labels, float("nan"))  # equals no level
    indicators = ops.cast(given[:, :, None] == values[:, None, :], labels.dtype)
    return LabelLevels(indicators, ops.logical_not(ops.any(left > low)))


def one_level(mask: Tensor, dtype: Any) -> LabelLevels:
    """A single level of all valid documents."""
    return LabelLevels(ops.cast(mask, dtype)[..., None], ops.convert_to_tensor(True))


def at_levels(values: Tensor, levels: LabelLevels) -> Tensor:
    """The number that all documents of a level share, [B, L], from the numbers of the documents, [B, N]; else 0."""
    indicators = levels.indicators
    lowest_first = ops.where(indicators > 0, values[:, :, None], lowest(values))
    return ops.where(ops.any(indicators > 0, axis=1), ops.max(lowest_first, axis=1), 0.0)
