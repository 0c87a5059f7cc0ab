"""Gumbel noise, for sampling rankings from a softmax."""

from __future__ import annotations

from typing import Any

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.ops.masking import below_top, masked_log_softmax
from ml4ir_losses.ops.replicas import uniform_rows

_LEAST = 1e-37  # a normal float32: avoids ln 0


def gumbel_noise(like: Tensor, sample_size: int, seed: Any = None) -> Tensor:
    """`sample_size` draws of standard Gumbel noise of the shape and dtype of `like`: [B, N] → [S, B, N].

    `seed` is a number, a `keras.random.SeedGenerator`, or None for Keras' global generator. Noise is drawn in
    float32, so that float64 scores get the same noise.
    """
    shape = (sample_size, *ops.shape(like))
    uniform = uniform_rows(shape, axis=1, minval=_LEAST, dtype="float32", seed=seed)
    return -ops.log(-ops.log(ops.cast(uniform, like.dtype)))


def perturb(scores: Tensor, mask: Tensor, noise: Tensor, gumbel_temperature: float = 1.0) -> Tensor:
    """Log-softmax of (scores + noise) / gumbel_temperature over the valid documents; 0 where masked.

    Scores and mask [B, N], noise [B, N] or [S, B, N]; the result has the shape of the noise.
    """
    perturbed = below_top(scores, mask) + noise  # added to scores of 1e4 the noise would lose digits
    return masked_log_softmax(perturbed / gumbel_temperature, mask)
