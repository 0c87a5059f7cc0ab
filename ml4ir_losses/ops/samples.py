"""Means over samples, one sample in memory at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ml4ir_losses.core.lazy import Tensor, keras, ops
from ml4ir_losses.ops.kernels.compiling import loop
from ml4ir_losses.ops.kernels.loops import detached

RowFunction = Callable[[Tensor], Tensor]


def mean_over_samples(function: Callable[[Tensor, Tensor], Tensor], scores: Tensor, samples: Tensor) -> Tensor:
    """The mean of function(scores, samples[s]) over s, [B], differentiable in the scores only.

    Args:
        function: takes scores [B, N] and one sample and gives a value per row, which depends on that row's scores.
        samples: [S, ...], S known.

    The gradient of each sample is taken in the forward pass, right after its value, so that nothing of the size of
    a pair matrix is kept for the backward pass, and the samples run one after another.
    """
    size = int(samples.shape[0])

    @ops.custom_gradient  # type: ignore[untyped-decorator]
    def mean(scores: Tensor) -> tuple[Tensor, Any]:
        def add(index: Any, values: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
            value, slope = value_and_gradient(lambda x: function(x, samples[index]), scores)
            return values + value / size, slopes + slope / size

        scores = detached(scores)
        start = ops.zeros_like(scores, dtype=scores.dtype)  # on torch float32 else
        values, slopes = loop(add, 0, size, (start[:, 0], start))

        def gradient(*args: Tensor, upstream: Tensor | None = None) -> Tensor:
            return (args[0] if upstream is None else upstream)[:, None] * slopes

        return values, gradient

    return mean(scores)


def value_and_gradient(function: RowFunction, x: Tensor) -> tuple[Tensor, Tensor]:
    """function(x), [B], and d Σ function(x) / dx, on the active backend."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            value = function(x)
        slope = tape.gradient(value, x)
        slope.set_shape(x.shape)  # a loop takes no variable whose shape it knows less well at its end
        return value, slope
    if backend == "jax":
        import jax

        value, pull_back = jax.vjp(function, x)
        return value, pull_back(ops.ones_like(value))[0]
    import torch

    with torch.enable_grad():
        x = x.detach().requires_grad_()
        value = function(x)
        slope = torch.autograd.grad(value.sum(), x)[0]
    return value.detach(), slope
