"""Weights of the pairs of a ranking as products of one factor per document, which sums of pairs need no pairs for."""

from __future__ import annotations

from typing import NamedTuple

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.ops.label_levels import LabelLevels, at_levels


class SeparableWeights(NamedTuple):
    """Λ of the pairs of documents in descending order of their scores.

    Of two documents i behind j in that order, the pair in which i is the better one weighs lower_i·M·upper_j, and that
    in which j is weighs lower_i·Mᵀ·upper_j.

    Args:
        lower, upper: factors of the documents, [B, N, F], 0 in padding.
        mix: M, [B, F, F] or [1, F, F].
    """

    lower: Tensor
    upper: Tensor
    mix: Tensor


def weights_by_level(
    indicators: Tensor, by_level: Tensor, lower: tuple[Tensor, ...] = (), upper: tuple[Tensor, ...] = ()
) -> SeparableWeights:
    """Λ_ij = by_level[y_i, y_j]·Σ_r lower_r·upper_r, where the label levels y_i of the better document and y_j count.

    Args:
        indicators: of the label levels, [B, N, L].
        by_level: [B, L, L] or [1, L, L], 0 unless the first level is the better one.
        lower, upper: factors by rank, [B, N] each, of the document behind and of the one ahead; (): 1.
    """
    if not lower:
        return SeparableWeights(indicators, indicators, by_level)
    terms, count = len(lower), by_level.shape[-1]
    behind, ahead = (
        ops.concatenate([x[:, :, None] * indicators for x in factors], axis=-1) for factors in (lower, upper)
    )
    # The same matrix for each of the products, as blocks of a diagonal.
    diagonal = ops.eye(terms, dtype=indicators.dtype)[None, :, None, :, None]
    mix = ops.reshape(diagonal * by_level[:, None, :, None, :], (-1, terms * count, terms * count))
    return SeparableWeights(behind, ahead, mix)


def equal_weights(mask: Tensor) -> SeparableWeights:
    """1 for all pairs of valid documents, whichever is better; mask [B, N], 1 or 0."""
    each = mask[..., None]
    return SeparableWeights(each, each, ops.ones((1, 1, 1), dtype=mask.dtype))


def better_levels(indicators: Tensor) -> Tensor:
    """1 where the first level is the better one, [1, L, L]."""
    count = indicators.shape[-1]
    return ops.triu(ops.ones((count, count), dtype=indicators.dtype), 1)[None]


def level_differences(values: Tensor, levels: LabelLevels) -> Tensor:
    """|v_i - v_j| of numbers that all documents of a level share, where i is of the better level, [B, L, L]."""
    each = at_levels(values, levels)
    return ops.abs(each[:, :, None] - each[:, None, :]) * better_levels(levels.indicators)


def weights_by_level_and_discount(by_level: Tensor, discounts: Tensor, levels: LabelLevels) -> SeparableWeights:
    """Λ_ij = by_level[y_i, y_j]·|d_i - d_j| for discounts d of the ranks, [B, N], that fall along the ranking."""
    ones = ops.ones_like(discounts)
    discounts = discounts - ops.min(discounts, axis=1, keepdims=True)  # smaller numbers, of more digits
    return weights_by_level(levels.indicators, by_level, (-discounts, ones), (ones, discounts))
