"""Transforms of single numbers, which need no fitting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.registry import register_transform
from ml4ir_losses.features.transforms import Transform
from ml4ir_losses.ops.backend import is_portable


@register_transform("log1p", aliases=("signed_log1p",))
class Log1p(Transform):
    """sign(x) · ln(1 + |x|)."""

    needs = "nothing"

    @staticmethod
    def apply(x: Any, fitted: Mapping[str, Any], ops: Any) -> Any:
        return ops.sign(x) * ops.log1p(ops.abs(x))


@register_transform("arctan")
class Arctan(Transform):
    """arctan(x), between -π/2 and π/2."""

    needs = "nothing"

    @staticmethod
    def apply(x: Any, fitted: Mapping[str, Any], ops: Any) -> Any:
        return ops.arctan2(x, ops.ones_like(x)) if is_portable() else ops.arctan(x)


@register_transform("reciprocal")
class Reciprocal(Transform):
    """1 / x, with the sign of x.

    Args:
        zero: the value for x = 0.
    """

    needs = "nothing"

    def __init__(self, zero: float = 0.0) -> None:
        self.zero = zero

    def fit(self, x: Array) -> dict[str, Any]:
        return {"zero": self.zero}

    @staticmethod
    def apply(x: Any, fitted: Mapping[str, Any], ops: Any) -> Any:
        is_zero = ops.abs(x) < np.finfo("float32").tiny  # some backends read smaller numbers as 0, others do not
        return ops.where(is_zero, fitted["zero"], 1.0 / ops.where(is_zero, 1.0, x))


@register_transform("clip")
class Clip(Transform):
    """Clips to [min, max].

    Args:
        min: the lowest value; None: there is none.
        max: the highest value; None: there is none.
    """

    needs = "nothing"

    def __init__(self, min: float | None = None, max: float | None = None) -> None:
        if min is None and max is None:
            raise UserError("clip needs min, max or both.")
        if min is not None and max is not None and min > max:
            raise UserError(f"min {min:g} is above max {max:g}.")
        self.min, self.max = min, max

    def fit(self, x: Array) -> dict[str, Any]:
        return {"min": self.min, "max": self.max}

    @staticmethod
    def apply(x: Any, fitted: Mapping[str, Any], ops: Any) -> Any:
        low = -np.inf if fitted["min"] is None else fitted["min"]
        high = np.inf if fitted["max"] is None else fitted["max"]
        return ops.minimum(ops.maximum(x, low), high)
