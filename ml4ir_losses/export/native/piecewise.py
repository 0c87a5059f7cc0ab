"""Functions of one number that are linear between ends, with jumps allowed; and chains of them with other functions."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml4ir_losses.core.arrays import Array

End = tuple[float, int]
"""The place just below k, (k, 0), or just above it, (k, 1); between the two lies k alone."""


@dataclass(frozen=True)
class Piecewise:
    """A function of a number with W values, linear on each interval between two ends.

    Attributes:
        ends: the ends between the intervals, ascending.
        offset: [intervals, W].
        slope: [intervals, W]; the value at x is offset + slope · x.
    """

    ends: Sequence[End]
    offset: Array
    slope: Array

    @classmethod
    def line(cls, offset: float = 0.0, slope: float = 1.0) -> Piecewise:
        """offset + slope · x."""
        return cls((), np.array([[offset]], "float64"), np.array([[slope]], "float64"))

    @classmethod
    def of(cls, ends: Sequence[End], lines: Sequence[tuple[float, float]]) -> Piecewise:
        """The function with one value whose (offset, slope) on each interval are given."""
        pairs = np.array(lines, "float64")
        return cls(tuple(ends), pairs[:, :1], pairs[:, 1:])

    @property
    def width(self) -> int:
        """The number of values."""
        return int(self.offset.shape[1])

    @property
    def is_constant(self) -> bool:
        """True if the function is a staircase."""
        return not self.slope.any()

    def __call__(self, x: Array) -> Array:
        """The values at x [rows], [rows, W] in float64."""
        x = np.asarray(x, "float64")
        interval = np.zeros(x.shape, int)
        for k, side in self.ends:
            interval += x > k if side else x >= k
        values: Array = self.offset[interval] + self.slope[interval] * x[..., None]
        return values

    def mapped(self, matrix: Array, bias: Array) -> Piecewise:
        """values · matrix + bias, for a matrix [W, V]."""
        return Piecewise(self.ends, self.offset @ matrix + bias, self.slope @ matrix)

    def then(self, functions: Sequence[Piecewise]) -> Piecewise:
        """Each of the W values through its function; value v of function w comes at v · W + w."""
        ends: list[End] = []
        offsets, slopes = [], []
        for i in range(len(self.offset)):
            low = self.ends[i - 1] if i else (-np.inf, 0)
            high = self.ends[i] if i < len(self.ends) else (np.inf, 0)
            lines = list(zip(self.offset[i], self.slope[i], functions, strict=True))
            inner = [_inner_ends(function.ends, offset, slope) for offset, slope, function in lines]
            starts = [low, *sorted({end for found in inner for end in found if low < end < high})]
            for start in starts:
                parts = [_composed(*line, found, start) for line, found in zip(lines, inner, strict=True)]
                offsets.append(np.stack([part[0] for part in parts], axis=1).reshape(-1))
                slopes.append(np.stack([part[1] for part in parts], axis=1).reshape(-1))
            ends += [*starts[1:], high]
        return Piecewise(tuple(ends[:-1]), np.array(offsets), np.array(slopes)).merged()

    def merged(self) -> Piecewise:
        """The same function without ends at which nothing changes."""
        kept: list[int] = [0]
        ends: list[End] = []
        for i, end in enumerate(self.ends, 1):
            same = all(
                np.allclose(values[i], values[kept[-1]], rtol=1e-12, atol=1e-15) for values in (self.offset, self.slope)
            )
            if not same:
                kept.append(i)
                ends.append(end)
        return Piecewise(tuple(ends), self.offset[kept], self.slope[kept])


def _inner_ends(ends: Sequence[End], offset: float, slope: float) -> list[End]:
    """The ends of a function of y = offset + slope · x as ends of x, ascending."""
    if slope == 0:
        return []
    found = [(float((k - offset) / slope), side if slope > 0 else 1 - side) for k, side in ends]
    return found if slope > 0 else found[::-1]


def _composed(offset: float, slope: float, function: Piecewise, ends: Sequence[End], start: End) -> tuple[Array, Array]:
    """Offset and slope of function(offset + slope · x) on the interval that begins at `start`."""
    if slope == 0:
        return function(np.array([offset]))[0], np.zeros(function.width)
    passed = bisect_right(ends, start)
    interval = passed if slope > 0 else len(function.ends) - passed
    return function.offset[interval] + function.slope[interval] * offset, function.slope[interval] * slope


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "log1p": lambda x: np.sign(x) * np.log1p(np.abs(x)),
    "arctan": np.arctan,
    "reciprocal": lambda x: np.divide(1.0, x, out=np.zeros_like(x), where=x != 0),
}
"""Functions of one number that are not piecewise linear; 1 / x is 0 at 0."""


@dataclass(frozen=True)
class Curve:
    """last(f_n(...f_1(first(x)))).

    Attributes:
        inner: pairs of a piecewise linear function and the key in `FUNCTIONS` of the function that follows it.
        last: the piecewise linear function at the end.
    """

    last: Piecewise
    inner: Sequence[tuple[Piecewise, str]] = ()

    def __call__(self, x: Array) -> Array:
        """The values at x [rows], [rows, W] in float64."""
        for function, key in self.inner:
            x = FUNCTIONS[key](function(x)[..., 0])
        return self.last(x)

    def mapped(self, matrix: Array, bias: Array) -> Curve:
        """values · matrix + bias."""
        return Curve(self.last.mapped(matrix, bias), self.inner)

    def then(self, functions: Sequence[Piecewise]) -> Curve:
        """Each value through its function."""
        return Curve(self.last.then(functions), self.inner)

    def through(self, key: str) -> Curve:
        """The function `key` of every value; several values must be a staircase."""
        if self.last.is_constant:
            return Curve(Piecewise(self.last.ends, FUNCTIONS[key](self.last.offset), self.last.slope), self.inner)
        if self.last.width > 1:
            raise ValueError(f"{key} of several values that are no staircase")
        return Curve(Piecewise.line(), [*self.inner, (self.last, key)])
