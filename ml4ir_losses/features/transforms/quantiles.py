"""Transforms by the quantiles of the training split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.registry import register_transform
from ml4ir_losses.features.transforms import Transform

FARTHEST = 5.199337582605575  # the normal quantile of 1 - 1e-7


@register_transform("quantile")
class Quantile(Transform):
    """F(x), the share of training values below x, 0 to 1: linear between quantiles of the training split.

    A value that spans several quantiles gets the mean of their shares; the lowest value gets 0, the highest 1.

    Args:
        quantiles: number of quantiles.
        output: `uniform`, or `normal`: the standard normal quantile of F(x), within ±5.2.

    Source: `QuantileTransformer` of scikit-learn, whose values these are.
    """

    def __init__(self, quantiles: int = 100, output: Literal["uniform", "normal"] = "uniform") -> None:
        if quantiles < 2:
            raise UserError(f"quantiles must be at least 2. Received: {quantiles}.")
        self.quantiles, self.output = quantiles, output

    def fit(self, x: Array) -> dict[str, Any]:
        shares = np.linspace(0.0, 1.0, max(min(self.quantiles, len(x)), 2))
        knots = np.maximum.accumulate(np.quantile(x, shares, axis=0), axis=0)  # rounding can break their order
        return {"knots": knots.tolist(), "output": self.output}

    @staticmethod
    def apply(x: Any, fitted: Mapping[str, Any], ops: Any) -> Any:
        knots = np.asarray(fitted["knots"], x.dtype if ops is np else "float32")
        last = len(knots) - 1
        lower = number_below(x, knots, ops)
        following = ops.minimum(lower, last)
        start, end = _at(knots, ops.maximum(lower - 1, 0), ops), _at(knots, following, ops)
        ends = np.stack([np.searchsorted(column, column, side="right") for column in knots.T], axis=1)
        upper = ops.where(x == end, _at(ends.astype("int32"), following, ops), lower)  # the knots up to x
        # Halves: the difference of two large numbers is beyond float32.
        part = (0.5 * x - 0.5 * start) / ops.where(end > start, 0.5 * end - 0.5 * start, 1.0)
        between = _as_float(lower, x, ops) - 1.0 + ops.minimum(ops.maximum(part, 0.0), 1.0)
        tied = 0.5 * (_as_float(lower, x, ops) + _as_float(upper, x, ops) - 1.0)
        share = ops.where(upper > lower, tied, between) / last
        share = ops.where(lower == 0, 0.0, ops.where(upper > last, 1.0, share))
        return share if fitted["output"] == "uniform" else _normal_quantile(share, ops)


@register_transform("bucketise", aliases=("bucketize",))
class Bucketise(Transform):
    """The bucket of x: bucket i holds b_i <= x < b_{i + 1}.

    Args:
        boundaries: the boundaries b, ascending, of all columns; None: quantiles of each column of the training split.
            The values of one bucket are then as many as those of the next, as far as equal values stay together.
        buckets: number of buckets where no boundaries are given.
        output: `onehot`: a 0/1 value for each bucket; `ordinal`: the bucket's number as a value from 0 to 1.
    """

    def __init__(
        self,
        boundaries: Sequence[float] | None = None,
        buckets: int = 10,
        output: Literal["onehot", "ordinal"] = "onehot",
    ) -> None:
        if boundaries is not None and (not len(boundaries) or (np.diff(boundaries) <= 0).any()):
            raise UserError(f"boundaries must be ascending numbers. Received: {list(boundaries)}.")
        if buckets < 2:
            raise UserError(f"buckets must be at least 2. Received: {buckets}.")
        self.boundaries, self.buckets, self.output = boundaries, buckets, output
        self.needs = "values" if boundaries is None else "nothing"

    def fit(self, x: Array) -> dict[str, Any]:
        if self.boundaries is None:
            boundaries = np.stack([_equal_buckets(np.sort(column), self.buckets) for column in x.T], axis=1)
        else:
            boundaries = np.asarray(self.boundaries, "float64")[:, None]
        return {"boundaries": boundaries.tolist(), "output": self.output}

    @staticmethod
    def apply(x: Any, fitted: Mapping[str, Any], ops: Any) -> Any:
        boundaries = np.asarray(fitted["boundaries"], x.dtype if ops is np else "float32")
        boundaries = np.broadcast_to(boundaries, (len(boundaries), x.shape[-1]))
        bucket = number_below(x, boundaries, ops, inclusive=True)
        if fitted["output"] == "ordinal":
            return _as_float(bucket, x, ops) / len(boundaries)
        buckets = np.arange(len(boundaries) + 1, dtype="int32")[:, None]
        is_in = _as_float(ops.equal(ops.expand_dims(bucket, -2), buckets), x, ops)
        return ops.reshape(is_in, (*ops.shape(x)[:-1], (len(boundaries) + 1) * x.shape[-1]))


def number_below(x: Any, knots: Array, ops: Any, *, inclusive: bool = False) -> Any:
    """The number of knots of each column that are below x (`inclusive`: or equal), [..., columns]; int32.

    By bisection: memory does not grow with the number of knots, [knots, columns], ascending.
    """
    number = ops.zeros(ops.shape(x), dtype="int32")
    for step in (1 << i for i in reversed(range(len(knots).bit_length()))):
        candidate = number + step
        knot = _at(knots, ops.minimum(candidate, len(knots)) - 1, ops)
        is_below = knot <= x if inclusive else knot < x
        number = ops.where(ops.logical_and(candidate <= len(knots), is_below), candidate, number)
    return number


def _at(knots: Array, index: Any, ops: Any) -> Any:
    """The knots of these indices, [..., columns]."""
    columns = knots.shape[1]
    place = ops.add(index * columns, np.arange(columns, dtype="int32"))
    return ops.take(np.ascontiguousarray(knots).reshape(-1), place, axis=0)


def _as_float(values: Any, x: Any, ops: Any) -> Any:
    return values.astype(x.dtype) if ops is np else ops.cast(values, x.dtype)


def _normal_quantile(share: Any, ops: Any) -> Any:
    if ops is np:
        from scipy.special import ndtri

        return np.clip(ndtri(share), -FARTHEST, FARTHEST)
    from ml4ir_losses.features.normal_quantile import erfinv  # imports Keras, which the check of a config does not need

    return ops.clip(np.sqrt(2.0).astype("float32") * erfinv(2.0 * share - 1.0), -FARTHEST, FARTHEST)


def _equal_buckets(x: Array, buckets: int) -> Array:
    """The boundaries that split the sorted values [rows] into buckets of about equal size, [buckets - 1]."""
    rows = len(x)
    highest = x[-1]
    below = x[: np.searchsorted(x, highest)]  # the values below the highest
    if not len(below):
        return np.full(buckets - 1, np.nextafter(np.float32(highest), np.float32(np.inf)), "float64")
    last = x[np.ceil(rows * np.arange(1, buckets) / buckets).astype(int) - 1]
    last = np.minimum(last, below[-1])  # the highest value has a bucket of its own if it is frequent
    following = x[np.searchsorted(x, last, side="right")]
    # Halfway, so that rounding inside the model moves no value to another bucket.
    boundary = 0.5 * last + 0.5 * following
    boundaries: Array = np.where(boundary.astype("float32") > last, boundary, following)
    return boundaries
