"""e^(x_j - x_i) of pairs of documents, with one exponential per document instead of one per pair.

`powers` and `odds` compute `dense_odds`. With x = (k + m)·ln 2, k an integer, e^x is a fraction e^(m·ln 2)
times 2^k. For a pair the fractions are multiplied, and the k are subtracted in the exponent bits of the product. Unlike
e^x_j / e^x_i this neither overflows nor underflows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ml4ir_losses.core.lazy import Tensor, keras, ops
from ml4ir_losses.ops.backend import bitcast, has_accelerator, is_backend

_MOST = 100  # odds are kept within 2^±100, beyond which a sigmoid is 0 or 1 in float32
_LARGEST_POWER = 1e30  # largest |k|, so that differences are finite
_EXPONENT = 1 << 23  # the lowest exponent bit of float32
_SHORT = 256.0  # parts of 8 bits: their integer multiples are exact


def dense_odds(x: Tensor, scale: float = 1.0) -> Tensor:
    """e^((x_j - x_i)/scale) within 2^±100, [B, N] → [B, N, N]."""
    limit = _MOST * math.log(2)
    return ops.exp(ops.clip((x[:, None, :] - x[:, :, None]) / scale, -limit, limit))


def powers(x: Tensor, scale: float = 1.0) -> tuple[Tensor, ...]:
    """e^(x/scale) of each document as (fraction, 1 / fraction, k); () where one exponential per pair is faster:
    on torch, where each operation is another pass over memory, and on accelerators, which compute exponentials fast.
    """
    if is_backend("torch") or has_accelerator() or keras.backend.standardize_dtype(x.dtype) != "float32":
        return ()
    step = scale * math.log(2)
    power = ops.clip(ops.round(x / step), -_LARGEST_POWER, _LARGEST_POWER)
    rest = x
    for part in _short_parts(step):
        rest = rest - power * part
    fraction = ops.exp(ops.clip(rest / scale, -1.0, 1.0))
    return fraction, 1.0 / fraction, power


def odds(row: Sequence[Tensor], column: Sequence[Tensor]) -> Tensor:
    """e^(x_j - x_i) within 2^±100 from the powers of the documents i (rows) and j (columns)."""
    power = ops.cast(ops.clip(column[2] - row[2], -_MOST, _MOST), "int32")
    fraction = bitcast(column[0] * row[1], "int32")
    return bitcast(fraction + power * _EXPONENT, "float32")


def _short_parts(number: float) -> tuple[float, float, float]:
    """The number as a sum of two 8-bit numbers and a remainder."""
    first = _short(number)
    second = _short(number - first)
    return first, second, number - first - second


def _short(number: float) -> float:
    mantissa, exponent = math.frexp(number)
    return math.ldexp(round(mantissa * _SHORT) / _SHORT, exponent)
