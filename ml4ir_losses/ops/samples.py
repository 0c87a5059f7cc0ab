"""Means over random samples, with one sample in memory at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.ops.backend import detached, loop, value_and_gradient


def mean_over_samples(function: Callable[[Tensor, Tensor], Tensor], scores: Tensor, samples: Tensor) -> Tensor:
    """The mean of function(scores, samples[s]) over s, [B], differentiable in the scores only.

    Args:
        function: maps scores [B, N] and one sample to values [B]; a row's value depends on that row's scores only.
        samples: [S, ...], S static.

    The gradient of each sample is computed in the forward pass, right after its value, so that no pair matrix is kept
    for the backward pass.
    """
    size = int(samples.shape[0])

    @ops.custom_gradient  # type: ignore[untyped-decorator]
    def mean(scores: Tensor) -> tuple[Tensor, Any]:
        def add(index: Any, values: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
            value, slope = value_and_gradient(lambda x: function(x, samples[index]), scores)
            return values + value / size, slopes + slope / size

        scores = detached(scores)
        start = ops.zeros_like(scores, dtype=scores.dtype)  # without dtype it would be float32 on torch
        values, slopes = loop(add, 0, size, (start[:, 0], start))

        def gradient(*args: Tensor, upstream: Tensor | None = None) -> Tensor:
            return (args[0] if upstream is None else upstream)[:, None] * slopes

        return values, gradient

    return mean(scores)
