"""Transforms that centre and scale columns by statistics of the training split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.registry import register_transform
from ml4ir_losses.features.moments import Moments
from ml4ir_losses.features.transforms import Needs, Transform


@register_transform("standardise", aliases=("standardize",))
class Standardise(Transform):
    """(x - mean) / standard deviation; a constant column becomes 0."""

    needs: Needs = "moments"

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
