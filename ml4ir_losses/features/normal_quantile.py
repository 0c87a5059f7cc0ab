"""The inverse of the error function, from which normal quantiles follow."""

from __future__ import annotations

from collections.abc import Sequence

from keras import ops

from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.ops.backend import is_portable

_NEAR = (
    *(2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087),
    *(-0.00125372503, -0.00417768164, 0.246640727, 1.50140941),
)
_FAR = (
    *(-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773),
    *(-0.0076224613, 0.00943887047, 1.00167406, 2.83297682),
)


def erfinv(x: Tensor) -> Tensor:
    """The inverse of the error function; where operations must be portable, its approximation in float32.

    Source: Giles, "Approximating the erfinv function" (2011).
    """
    if not is_portable():
        return ops.erfinv(x)
    w = -ops.log(ops.maximum((1.0 - x) * (1.0 + x), 1e-8))  # 0 only for ±1, far beyond the other values
    return x * ops.where(w < 5.0, _polynomial(w - 2.5, _NEAR), _polynomial(ops.sqrt(ops.maximum(w, 5.0)) - 3.0, _FAR))


def _polynomial(x: Tensor, coefficients: Sequence[float]) -> Tensor:
    """The highest power first."""
    value: Tensor = coefficients[0]
    for coefficient in coefficients[1:]:
        value = coefficient + value * x
    return value
