"""e^(x_j - x_i) of pairs of documents: one exponential per document instead of one per pair.

With x = (k + m)·ln 2, k whole, e^x is a fraction and a power of 2: of two documents the fractions multiply, and the
powers add up in the bits of the exponent. Unlike e^x_j / e^x_i it holds at any scale of the scores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ml4ir_losses.core.lazy import Tensor, keras, ops
from ml4ir_losses.ops.kernels.compiling import has_accelerator

_MOST = 100  # |log2| of what is told apart; beyond, σ is 0 or 1 to the last digit
_LARGEST_POWER = 1e30  # of 2, so that differences are finite
_FRACTION_BITS = 1 << 23  # of float32
_SHORT = 256.0  # whole multiples of a number of 8 bits are exact


def powers(x: Tensor, unit: float = 1.0) -> tuple[Tensor, ...]:
    """e^(x/unit) of each document as (fraction, 1 / fraction, power of 2); () where an exponential per pair is better.

    Without a compiler, on torch, each further operation is a further pass; accelerators have exponentials in hardware.
    """
    if keras.backend.backend() == "torch" or has_accelerator() or keras.backend.standardize_dtype(x.dtype) != "float32":
        return ()
    step = unit * math.log(2)
    power = ops.clip(ops.round(x / step), -_LARGEST_POWER, _LARGEST_POWER)
    rest = x
    for part in _short_parts(step):
        rest = rest - power * part
    fraction = ops.exp(ops.clip(rest / unit, -1.0, 1.0))
    return fraction, 1.0 / fraction, power


def odds(row: Sequence[Tensor], column: Sequence[Tensor]) -> Tensor:
    """e^(x_j - x_i) within 2^±100 from the powers of i and j."""
    power = ops.cast(ops.clip(column[2] - row[2], -_MOST, _MOST), "int32")
    fraction = _view(column[0] * row[1], "int32")
    return _view(fraction + power * _FRACTION_BITS, "float32")


def _view(x: Tensor, dtype: str) -> Tensor:
    """The bits of x as another dtype of the same size."""
    if keras.backend.backend() != "tensorflow":
        return ops.view(x, dtype=dtype)
    import tensorflow as tf

    return tf.bitcast(x, dtype)  # `ops.view` needs to know the width


def _short_parts(number: float) -> tuple[float, float, float]:
    """Two numbers of 8 bits and the rest, which add up to it."""
    first = _short(number)
    second = _short(number - first)
    return first, second, number - first - second


def _short(number: float) -> float:
    mantissa, exponent = math.frexp(number)
    return math.ldexp(round(mantissa * _SHORT) / _SHORT, exponent)
