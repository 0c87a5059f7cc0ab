"""TF-Ranking's functions of labels, ranks and features, registered with Keras: configs hold them by name."""

from __future__ import annotations

import keras
from keras import ops

from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.ops import as_float, gains, safe_divide

__all__ = ["identity", "inverse", "is_greater_equal_1", "log2_inverse", "pow_minus_1", "symmetric_log1p"]

_registered = keras.saving.register_keras_serializable("ml4ir_losses.tf_ranking")


@_registered  # type: ignore[untyped-decorator]
def identity(label: Tensor) -> Tensor:
    """The label itself."""
    return label


@_registered  # type: ignore[untyped-decorator]
def pow_minus_1(label: Tensor) -> Tensor:
    """2^y - 1."""
    return gains.pow2_minus_1(as_float(label))


@_registered  # type: ignore[untyped-decorator]
def inverse(rank: Tensor) -> Tensor:
    """1 / r, and 0 where r is 0."""
    rank = as_float(rank)
    return safe_divide(ops.ones_like(rank), rank)


@_registered  # type: ignore[untyped-decorator]
def log2_inverse(rank: Tensor) -> Tensor:
    """1 / log2(1 + r), and 0 where r is 0."""
    rank = as_float(rank)
    positive = ops.not_equal(rank, 0)
    return ops.where(positive, gains.log2_inverse(ops.where(positive, rank, 1.0)), 0.0)


@_registered  # type: ignore[untyped-decorator]
def is_greater_equal_1(label: Tensor) -> Tensor:
    """label ≥ 1."""
    return as_float(label) >= 1.0


@_registered  # type: ignore[untyped-decorator]
def symmetric_log1p(t: Tensor) -> Tensor:
    """sign(x)·ln(1 + |x|): a scale for features of either sign.

    >>> [round(float(x), 4) for x in symmetric_log1p([-1.0, 0.0, 1.0])]
    [-0.6931, 0.0, 0.6931]
    """
    t = as_float(t)
    return ops.sign(t) * ops.log1p(ops.abs(t))
