"""Exact sums over the tail of a list."""

from __future__ import annotations

from ml4ir_losses.lazy import Tensor, ops
from ml4ir_losses.ops.masking import lowest

BLOCK = 32


def tail_sums(x: Tensor) -> Tensor:
    """log Σ_{j≥i} exp(x_j - x_i) for every i, [B, N] → [B, N], exact at any spread of x.

    Every tail has a maximum of its own, so one shift per list would under- or overflow. Here the tail is split
    into the rest of its block of 32 and the blocks behind it, each with its own maximum: memory B·N·(32 + N/32²).
    Only differences of x enter, so that no digits go to a common offset.
    """
    low = lowest(x)
    length = ops.shape(x)[1]
    blocks = length // BLOCK + 1
    filler = ops.full_like(x[:, :1], low) * ops.ones((1, BLOCK), dtype=x.dtype)
    padded = ops.concatenate([x, filler], axis=1)[:, : blocks * BLOCK]
    tiles = ops.reshape(padded, (-1, blocks, BLOCK))

    differences = tiles[:, :, None, :] - tiles[:, :, :, None]
    within = ops.logsumexp(ops.where(_not_before(BLOCK, 0), differences, low), axis=-1)

    top = ops.stop_gradient(ops.max(tiles, axis=-1))
    above_top = ops.logsumexp(tiles - top[:, :, None], axis=-1)
    later = _not_before(blocks, 1)
    peak = ops.max(ops.where(later, top[:, None, :], low), axis=-1)
    above_peak = top[:, None, :] - peak[:, :, None] + above_top[:, None, :]
    behind = peak[:, :, None] - tiles + ops.logsumexp(ops.where(later, above_peak, low), axis=-1)[:, :, None]
    # Not `logaddexp`: on TensorFlow its gradient is one-sided where both are equal, as they are at equal scores.
    tails = ops.logsumexp(ops.stack([within, behind], axis=-1), axis=-1)
    return ops.reshape(tails, (-1, blocks * BLOCK))[:, :length]


def _not_before(size: int | Tensor, offset: int) -> Tensor:
    """[size, size], true where column ≥ row + offset."""
    index = ops.arange(size)
    return index[None, :] >= index[:, None] + offset
