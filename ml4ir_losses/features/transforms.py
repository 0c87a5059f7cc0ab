"""Numeric transforms by key: fitted in NumPy on the training split, applied in any backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ml4ir_losses.config.base import Spec
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.registry import TRANSFORMS, register_transform, split_spec


class Transform:
    """A transform of numeric columns, registered under its key."""

    def fit(self, x: Array) -> dict[str, Any]:
        """The values that `apply` needs, in JSON's types; x [rows, columns] is the training split, without gaps."""
        return {}

    @staticmethod
    def apply(x: Any, fitted: Mapping[str, Any], ops: Any) -> Any:
        """x [..., columns], transformed with the values of `fit`; `ops` is numpy or keras.ops."""
        raise NotImplementedError


@register_transform("log1p")
class Log1p(Transform):
    """sign(x) · ln(1 + |x|)."""

    @staticmethod
    def apply(x: Any, fitted: Mapping[str, Any], ops: Any) -> Any:
        return ops.sign(x) * ops.log1p(ops.abs(x))


@register_transform("clip")
class Clip(Transform):
    """Clips to [min, max].

    Args:
        min: the lowest value; None: there is none.
        max: the highest value; None: there is none.
    """

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


@register_transform("standardise", aliases=("standardize",))
class Standardise(Transform):
    """(x - mean) / standard deviation; a constant column becomes 0."""

    def fit(self, x: Array) -> dict[str, Any]:
        centre, spread = self.centre_and_spread(x)
        scale = np.where(spread > 0, spread, x.std(axis=0))
        constant = np.ptp(x, axis=0) == 0
        scale = np.where(constant | (scale <= 0), 1.0, scale)
        centre = np.where(constant, x[0], centre)  # the mean of a constant column is rounded
        return {"centre": [float(v) for v in centre], "scale": [float(v) for v in scale]}

    def centre_and_spread(self, x: Array) -> tuple[Array, Array]:
        """The centre and the spread of each column; the standard deviation replaces a spread of 0."""
        return x.mean(axis=0), x.std(axis=0)

    @staticmethod
    def apply(x: Any, fitted: Mapping[str, Any], ops: Any) -> Any:
        constant = ops.asarray if ops is np else ops.convert_to_tensor
        return (x - constant(fitted["centre"], dtype=x.dtype)) / constant(fitted["scale"], dtype=x.dtype)


@register_transform("robust")
class Robust(Standardise):
    """(x - median) / interquartile range; the standard deviation replaces a range of 0."""

    def centre_and_spread(self, x: Array) -> tuple[Array, Array]:
        low, centre, high = np.percentile(x, [25, 50, 75], axis=0)
        return centre, high - low


def fill_values(x: Array, missing: str | float) -> list[float]:
    """The value that replaces a missing cell in each column of x [rows, columns]; 0 where a column has no value."""
    if isinstance(missing, (int, float)):
        return [float(missing)] * x.shape[1]
    if missing == "zero":
        return [0.0] * x.shape[1]
    empty = np.isnan(x).all(axis=0)
    centre = np.nanmean if missing == "mean" else np.nanmedian
    return [float(v) for v in centre(np.where(empty, 0.0, x), axis=0)]


def fit_transforms(x: Array, transforms: Sequence[Spec]) -> list[dict[str, Any]]:
    """Fits each transform on the output of those before it; x [rows, columns] without missing cells."""
    fitted = []
    for spec in transforms:
        state = {"key": split_spec(TRANSFORMS.kind, spec)[0], **TRANSFORMS.create(spec).fit(x)}
        x = apply_transforms(x, [state], np)
        fitted.append(state)
    return fitted


def apply_transforms(x: Any, fitted: Sequence[Mapping[str, Any]], ops: Any) -> Any:
    """Applies fitted transforms along the last axis; `ops` is numpy or keras.ops."""
    for state in fitted:
        x = TRANSFORMS[state["key"]].target.apply(x, state, ops)  # type: ignore[attr-defined]
    return x
