"""ln(1 + q) for q from 0 to 1, and ln(1 + e^x): a short series in float32 code that XLA compiles.

They compute `ops.log1p` and `ops.softplus`.
"""

from __future__ import annotations

from ml4ir_losses.core.lazy import Tensor, keras, ops
from ml4ir_losses.ops.backend import is_compiled

# The coefficients of 2 artanh(z) / z in z², z ≤ 1/3. For z = q / (2 + q), ln(1 + q) = 2 artanh(z); exact to the
# last digit of float32.
_SERIES = (2.0, 0.66666681, 0.39998695, 0.28620625, 0.21394268, 0.24409403)


def log1p_ratio(low: Tensor, high: Tensor | float) -> Tensor:
    """ln(1 + low / high) for 0 ≤ low ≤ high, float32; much faster than `log1p`, which branches."""
    z = low / (high + high + low)
    square = z * z
    series = ops.full_like(low, _SERIES[-1])
    for factor in _SERIES[-2::-1]:
        series = series * square + factor
    return z * series


def log1p_share(share: Tensor) -> Tensor:
    """ln(1 + share) for 0 ≤ share ≤ 1."""
    return log1p_ratio(share, 1.0) if _by_series(share) else ops.log1p(share)


def softplus(x: Tensor) -> Tensor:
    """ln(1 + e^x); no gradient."""
    if _by_series(x):
        return ops.relu(x) + log1p_ratio(ops.exp(-ops.abs(x)), 1.0)
    return -ops.log_sigmoid(-x)


def _by_series(x: Tensor) -> bool:
    return is_compiled() and bool(keras.backend.standardize_dtype(x.dtype) == "float32")
