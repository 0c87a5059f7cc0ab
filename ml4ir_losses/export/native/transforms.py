"""The numeric transforms as functions that search engines can compute."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.export.native.piecewise import Curve, Piecewise

State = Mapping[str, Any]


def curve_of(transforms: list[dict[str, Any]], column: int, columns: int) -> Curve:
    """The transforms of one of the columns of an input.

    Raises:
        KeyError: for a transform that no formula of the number alone gives.
    """
    curve = Curve(Piecewise.line())
    for state in transforms:
        curve = CURVES[state["key"]](curve, state, slice(column, None, columns))
    return curve


def _rounded(values: Any) -> Array:
    """Fitted values as the model has them, in float32."""
    return np.array(values, "float32").astype("float64")


def _scaled(curve: Curve, state: State, ours: slice) -> Curve:
    centre, scale = (_rounded(state[name])[ours] for name in ("centre", "scale"))
    return curve.mapped(np.diag(1.0 / scale), -centre / scale)


def _clipped(curve: Curve, state: State, ours: slice) -> Curve:
    ends, lines = [], [(0.0, 1.0)]
    if state["min"] is not None:
        low = float(_rounded(state["min"]))
        ends, lines = [(low, 0)], [(low, 0.0), *lines]
    if state["max"] is not None:
        high = float(_rounded(state["max"]))
        ends, lines = [*ends, (high, 1)], [*lines, (high, 0.0)]
    return curve.then([Piecewise.of(ends, lines)] * curve.last.width)


def _buckets(curve: Curve, state: State, ours: slice) -> Curve:
    boundaries = _rounded(state["boundaries"])
    mine = boundaries[:, ours].T if boundaries.shape[1] > 1 else [boundaries[:, 0]] * curve.last.width
    return curve.then([_staircase(column, state["output"]) for column in mine])


def _staircase(boundaries: Array, output: str) -> Piecewise:
    """The bucket of a number; boundaries that are equal enclose empty buckets."""
    distinct, counts = np.unique(boundaries, return_counts=True)
    bucket = np.concatenate([[0], np.cumsum(counts)])
    values = bucket[:, None] / len(boundaries) if output == "ordinal" else np.eye(len(boundaries) + 1)[bucket]
    return Piecewise([(float(k), 0) for k in distinct], values, np.zeros(values.shape))


def _share(curve: Curve, state: State, ours: slice) -> Curve:
    if state["output"] != "uniform":
        raise KeyError(state["key"])
    knots = _rounded(state["knots"])[:, ours]
    return curve.then([_share_below(column) for column in knots.T])


def _share_below(knots: Array) -> Piecewise:
    """The share of knots below a number; a number that is several knots gets the mean of their shares."""
    distinct, first, counts = np.unique(knots, return_index=True, return_counts=True)
    last = len(knots) - 1
    end = first + counts - 1
    ends, lines = [(float(distinct[0]), 1)], [(0.0, 0.0)]
    for i in range(1, len(distinct)):
        slope = (first[i] - end[i - 1]) / last / (distinct[i] - distinct[i - 1])
        lines.append((end[i - 1] / last - slope * distinct[i - 1], slope))
        ends.append((float(distinct[i]), 0))
        if i < len(distinct) - 1 and counts[i] > 1:
            lines.append((0.5 * (first[i] + end[i]) / last, 0.0))
            ends.append((float(distinct[i]), 1))
    return Piecewise.of(ends, [*lines, (1.0, 0.0)])


def _function(key: str) -> Callable[[Curve, State, slice], Curve]:
    return lambda curve, state, ours: curve.through(key)


def _reciprocal(curve: Curve, state: State, ours: slice) -> Curve:
    if state["zero"] != 0:
        raise KeyError("reciprocal with `zero`")
    return curve.through("reciprocal")


CURVES: dict[str, Callable[[Curve, State, slice], Curve]] = {
    "standardise": _scaled,
    "robust": _scaled,
    "clip": _clipped,
    "bucketise": _buckets,
    "quantile": _share,
    "log1p": _function("log1p"),
    "arctan": _function("arctan"),
    "reciprocal": _reciprocal,
}
