"""Casts, masks and operations that stay finite in value and gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ml4ir_losses.core.lazy import Tensor, keras, ops
from ml4ir_losses.ops.backend import has_slow_selects, nan_to_zero
from ml4ir_losses.ops.kernels.gradients import with_gradient


def as_float(x: Tensor) -> Tensor:
    """A float tensor of at least 32 bits; float64 stays float64."""
    x = ops.convert_to_tensor(x)
    return x if keras.backend.standardize_dtype(x.dtype) == "float64" else ops.cast(x, "float32")


def as_mask(mask: Tensor | None, like: Tensor) -> Tensor:
    """A boolean mask of the shape of `like`; None: all documents are valid."""
    if mask is None:
        return ops.ones_like(like, dtype="bool")
    return ops.cast(ops.convert_to_tensor(mask), "bool")


def lowest(x: Tensor) -> float:
    """A finite substitute for minus infinity: subtracting from it does not overflow in the dtype of `x`.

    Always within the range of float32, to which torch casts Python numbers even next to float64.
    """
    dtype = keras.backend.standardize_dtype(x.dtype)
    return float(np.finfo("float32" if dtype == "float64" else dtype).min) / 4


class Cleaned(NamedTuple):
    """Labels, scores, mask and document weights, [B, N] of one float dtype; 0 where masked."""

    labels: Tensor
    scores: Tensor
    mask: Tensor
    weight: Tensor


def clean(
    labels: Tensor, scores: Tensor, mask: Tensor | None, item_weight: Tensor | None = None, temperature: float = 1.0
) -> Cleaned:
    """Labels, scores / temperature, mask and document weights (1 by default), 0 where masked.

    A document with the score -inf is not retrieved and masked too: no loss can move such a score.
    `where` comes before any arithmetic, so that a NaN in padding affects neither value nor gradient.
    """
    scores = as_float(scores)
    mask = ops.logical_and(as_mask(mask, scores), ops.not_equal(scores, -float("inf")))
    labels = ops.where(mask, ops.cast(labels, scores.dtype), 0.0)
    weight = ops.cast(mask, scores.dtype)
    if item_weight is not None:
        weight = ops.where(mask, ops.cast(item_weight, scores.dtype), 0.0)
    scores = ops.where(mask, scores, 0.0)
    return Cleaned(labels, scores / temperature if temperature != 1.0 else scores, mask, weight)


def row_sum(x: Tensor) -> Tensor:
    """Sum over the documents: [B, N] → [B]."""
    return ops.sum(x, axis=-1)


def without_nan(x: Tensor, key: Tensor | None = None) -> Tensor:
    """x, but 0 where it is NaN; `key`, if given, is NaN in the same places and may be cheaper to compare."""
    if has_slow_selects():
        return nan_to_zero(x)
    key = x if key is None else key
    return ops.where(key == key, x, 0.0)


def safe_divide(numerator: Tensor, denominator: Tensor) -> Tensor:
    """numerator / denominator, and 0 with a zero gradient where the denominator is 0.

    Subnormal denominators count as 0, to which TensorFlow and XLA flush them; on torch the quotient would be infinite.
    """
    numerator, denominator = ops.convert_to_tensor(numerator), ops.convert_to_tensor(denominator)
    smallest = float(np.finfo(keras.backend.standardize_dtype(denominator.dtype)).tiny)
    nonzero = ops.abs(denominator) >= smallest
    return ops.where(nonzero, numerator / ops.where(nonzero, denominator, 1.0), 0.0)


def safe_sqrt(x: Tensor) -> Tensor:
    """√x, and 0 with a zero gradient where x ≤ 0."""
    positive = x > 0
    return ops.where(positive, ops.sqrt(ops.where(positive, x, 1.0)), 0.0)


def masked_logsumexp(scores: Tensor, mask: Tensor) -> Tensor:
    """log Σ exp(scores) over the valid documents, [B, 1]; very low, but finite, if none is valid."""
    return ops.logsumexp(ops.where(mask, scores, lowest(scores)), axis=-1, keepdims=True)


def below_top(scores: Tensor, mask: Tensor) -> Tensor:
    """scores minus their maximum over valid documents, 0 where masked: a common offset costs no digits."""
    top = ops.max(ops.where(mask, scores, lowest(scores)), axis=-1, keepdims=True)
    return ops.where(mask, scores - ops.stop_gradient(top), 0.0)


def softmax_of_valid(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the valid documents, [B, N]; 0 where masked."""
    scores = ops.where(mask, scores, lowest(scores))
    shares = ops.exp(scores - ops.stop_gradient(ops.max(scores, axis=-1, keepdims=True)))
    return ops.where(mask, shares / ops.sum(shares, axis=-1, keepdims=True), 0.0)


def masked_log_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Log of the softmax over the valid documents, [B, N]; 0 where masked."""
    below, log_total = _below_log_total(scores, mask)
    return ops.where(mask, below - log_total, 0.0)


def surprisal(scores: Tensor, mask: Tensor) -> Tensor:
    """Minus the log of the softmax over the valid documents, [B, N], at least 0; 0 where masked."""
    below, log_total = _below_log_total(scores, mask)
    return ops.where(mask, log_total - below, 0.0)  # 0.0 for a single document, not -0.0


def _below_log_total(scores: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """scores minus their maximum (very low where masked), and the log Σ exp of these, [B, 1], at least 0."""
    low = lowest(scores)
    top = ops.stop_gradient(ops.max(ops.where(mask, scores, low), axis=-1, keepdims=True))
    below = ops.where(mask, scores - top, low)
    total = ops.sum(ops.exp(below), axis=-1, keepdims=True)
    return below, ops.log(ops.where(total > 0, total, 1.0))  # 0 for lists without a valid document


def masked_cross_entropy(target: Tensor, scores: Tensor, mask: Tensor) -> Tensor:
    """Σ target·`surprisal` over the documents, [B], in fewer steps; target [B, N] is 0 where masked."""

    def crossed(target: Tensor, scores: Tensor) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, ...]]]:
        below = scores - ops.max(scores, axis=-1, keepdims=True)
        shares = ops.exp(below)
        total = ops.sum(shares, axis=-1, keepdims=True)
        surprise = ops.log(total) - below

        def pull_back(upstream: Tensor) -> tuple[Tensor, ...]:
            upstream = upstream[:, None]
            slopes = shares * (upstream * ops.sum(target, axis=-1, keepdims=True) / total) - upstream * target
            return upstream * ops.where(scores > lowest(scores) / 2, surprise, 0.0), slopes

        return row_sum(target * surprise), pull_back

    return with_gradient(crossed, (target, ops.where(mask, scores, lowest(scores))))


def where_finite(function: Callable[[Tensor], Tensor], x: Tensor, filler: float = 0.0) -> Tensor:
    """function(x) where x is finite, else x itself; the function sees `filler` there, so that gradients are finite."""
    finite = ops.isfinite(x)
    return ops.where(finite, function(ops.where(finite, x, filler)), x)
