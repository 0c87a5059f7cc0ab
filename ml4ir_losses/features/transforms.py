"""Numeric transforms by key: fitted in NumPy on the training split, applied in any backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from ml4ir_losses.config.base import Spec
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.registry import TRANSFORMS, register_transform, split_spec
from ml4ir_losses.features.moments import Moments

Needs = Literal["nothing", "moments", "values"]


class Transform:
    """A transform of numeric columns, registered under its key.

    `needs` says what it is fitted on: nothing but its parameters, the `Moments` of the columns (then `fit_moments` is
    called, and `fit` need not be given), or all values.
    """

    needs: ClassVar[Needs] = "values"

    def fit(self, x: Array) -> dict[str, Any]:
        """The values that `apply` needs, in JSON's types; x [rows, columns] is the training split, without gaps."""
        return self.fit_moments(Moments.of(x)) if self.needs == "moments" else {}

    def fit_moments(self, moments: Moments) -> dict[str, Any]:
        """The values that `apply` needs, from the moments of the training split."""
        raise NotImplementedError

    @staticmethod
    def apply(x: Any, fitted: Mapping[str, Any], ops: Any) -> Any:
        """x [..., columns], transformed with the values of `fit`; `ops` is numpy or keras.ops."""
        raise NotImplementedError


@register_transform("log1p")
class Log1p(Transform):
    """sign(x) · ln(1 + |x|)."""

    needs = "nothing"

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


@register_transform("standardise", aliases=("standardize",))
class Standardise(Transform):
    """(x - mean) / standard deviation; a constant column becomes 0."""

    needs: ClassVar[Needs] = "moments"

    def fit_moments(self, moments: Moments) -> dict[str, Any]:
        return self.centre_and_scale(moments, moments.mean, moments.deviation)

    @staticmethod
    def centre_and_scale(moments: Moments, centre: Array, spread: Array) -> dict[str, Any]:
        """The fitted values; the standard deviation replaces a spread of 0."""
        scale = np.where(spread > 0, spread, moments.deviation)
        constant = moments.low == moments.high
        scale = np.where(constant | (scale <= 0), 1.0, scale)
        centre = np.where(constant, moments.low, centre)  # the mean of a constant column is rounded
        return {"centre": [float(v) for v in centre], "scale": [float(v) for v in scale]}

    @staticmethod
    def apply(x: Any, fitted: Mapping[str, Any], ops: Any) -> Any:
        constant = ops.asarray if ops is np else ops.convert_to_tensor
        return (x - constant(fitted["centre"], dtype=x.dtype)) / constant(fitted["scale"], dtype=x.dtype)


@register_transform("robust")
class Robust(Standardise):
    """(x - median) / interquartile range; the standard deviation replaces a range of 0."""

    needs = "values"

    def fit(self, x: Array) -> dict[str, Any]:
        low, centre, high = np.percentile(x, [25, 50, 75], axis=0)
        return self.centre_and_scale(Moments.of(x), centre, high - low)


def fit_transforms(x: Array, transforms: Sequence[Spec]) -> list[dict[str, Any]]:
    """Fits each transform on the output of those before it; x [rows, columns] without missing cells."""
    fitted = []
    for spec in transforms:
        state = fitted_state(spec, TRANSFORMS.create(spec).fit(x))
        x = apply_transforms(x, [state], np)
        fitted.append(state)
    return fitted


def fitted_state(spec: Spec, values: Mapping[str, Any]) -> dict[str, Any]:
    """A fitted transform: its key, and the values that it applies."""
    return {"key": split_spec(TRANSFORMS.kind, spec)[0], **values}


def apply_transforms(x: Any, fitted: Sequence[Mapping[str, Any]], ops: Any) -> Any:
    """Applies fitted transforms along the last axis; `ops` is numpy or keras.ops."""
    for state in fitted:
        x = TRANSFORMS[state["key"]].target.apply(x, state, ops)  # type: ignore[attr-defined]
    return x
