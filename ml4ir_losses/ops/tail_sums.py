"""Exact sums over the tail of a list."""

from __future__ import annotations

from ml4ir_losses.lazy import Tensor, ops
from ml4ir_losses.ops.masking import lowest

BLOCK = 32


def reverse_logcumsumexp(x: Tensor) -> Tensor:
    """log Σ_{j≥i} exp(x_j) for every i, [B, N] → [B, N], exact at any spread of x.

    Every tail has a maximum of its own, so one shift per list would under- or overflow. Here the tail is split
    into the rest of its block of 32 and the blocks behind it, each with its own maximum: memory B·N·(32 + N/32²).
    """
    low = lowest(x)
    length = ops.shape(x)[1]
    blocks = length // BLOCK + 1
    filler = ops.full_like(x[:, :1], low) * ops.ones((1, BLOCK), dtype=x.dtype)
    padded = ops.concatenate([x, filler], axis=1)[:, : blocks * BLOCK]
    tiles = ops.reshape(padded, (-1, blocks, BLOCK))

    within = ops.logsumexp(ops.where(_not_before(BLOCK, 0), tiles[:, :, None, :], low), axis=-1)
    behind = ops.logsumexp(ops.where(_not_before(blocks, 1), within[:, None, :, 0], low), axis=-1)
    # Not `logaddexp`: on TensorFlow its gradient is one-sided where both are equal, as they are at equal scores.
    tails = ops.logsumexp(ops.stack([within, behind[:, :, None] + ops.zeros_like(within)], axis=-1), axis=-1)
    return ops.reshape(tails, (-1, blocks * BLOCK))[:, :length]


def _not_before(size: int | Tensor, offset: int) -> Tensor:
    """[size, size], true where column ≥ row + offset."""
    index = ops.arange(size)
    return index[None, :] >= index[:, None] + offset
