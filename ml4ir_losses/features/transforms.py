"""Numeric transforms: fitted in numpy on the training split, applied in any backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ml4ir_losses.config.inputs import ClipTransform
from ml4ir_losses.core.arrays import Array


def fill_values(x: Array, missing: str | float) -> list[float]:
    """The value that replaces a missing cell in each column of x [rows, columns]; 0 where a column has no value."""
    if isinstance(missing, (int, float)):
        return [float(missing)] * x.shape[1]
    if missing == "zero":
        return [0.0] * x.shape[1]
    empty = np.isnan(x).all(axis=0)
    centre = np.nanmean if missing == "mean" else np.nanmedian
    return [float(v) for v in centre(np.where(empty, 0.0, x), axis=0)]


def fit_transforms(x: Array, transforms: Sequence[Any]) -> list[dict[str, Any]]:
    """Fits each transform on the output of those before it; x [rows, columns] without missing cells."""
    fitted = []
    for transform in transforms:
        state = _fit_transform(x, transform)
        x = apply_transforms(x, [state], np)
        fitted.append(state)
    return fitted


def _fit_transform(x: Array, transform: Any) -> dict[str, Any]:
    if isinstance(transform, ClipTransform):
        return {"key": "clip", "min": transform.min, "max": transform.max}
    if transform == "log1p":
        return {"key": "log1p"}
    if transform == "robust":
        low, centre, high = np.percentile(x, [25, 50, 75], axis=0)
        return _scaling(centre, high - low, x)
    return _scaling(x.mean(axis=0), x.std(axis=0), x)


def _scaling(centre: Array, spread: Array, x: Array) -> dict[str, Any]:
    """Centre and scale; the standard deviation replaces a spread of 0, and the scale of a constant column is 1."""
    scale = np.where(spread > 0, spread, x.std(axis=0))
    constant = np.ptp(x, axis=0) == 0
    scale = np.where(constant | (scale <= 0), 1.0, scale)
    centre = np.where(constant, x[0], centre)  # the mean of a constant column is rounded
    return {"key": "scale", "centre": [float(v) for v in centre], "scale": [float(v) for v in scale]}


def apply_transforms(x: Any, fitted: Sequence[dict[str, Any]], ops: Any) -> Any:
    """Applies fitted transforms along the last axis; `ops` is numpy or keras.ops."""
    for state in fitted:
        if state["key"] == "log1p":
            x = ops.sign(x) * ops.log1p(ops.abs(x))
        elif state["key"] == "clip":
            low = -np.inf if state["min"] is None else state["min"]
            high = np.inf if state["max"] is None else state["max"]
            x = ops.minimum(ops.maximum(x, low), high)
        else:
            constant = ops.asarray if ops is np else ops.convert_to_tensor
            x = (x - constant(state["centre"], dtype=x.dtype)) / constant(state["scale"], dtype=x.dtype)
    return x
