"""Means, variances and extreme values of columns, of rows that are added chunk by chunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from ml4ir_losses.core.arrays import Array


@dataclass(frozen=True)
class Moments:
    """Statistics of the present cells of columns, [F] each; the sum of two is that of all their rows.

    Source: Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979).

    Attributes:
        count: the number of present cells.
        mean: their mean, 0 if there are none.
        squares: the sum of their squared deviations from the mean.
        low: the lowest value, infinity if there is none.
        high: the highest value, minus infinity if there is none.
    """

    count: Array
    mean: Array
    squares: Array
    low: Array
    high: Array

    @classmethod
    def of(cls, x: Array) -> Self:
        """The moments of the columns of x [rows, F], float64; NaN is a missing cell."""
        present = ~np.isnan(x)
        count = present.sum(axis=0)
        if present.all() and len(x):
            mean = x.mean(axis=0)
            return cls(count, mean, ((x - mean) ** 2).sum(axis=0), x.min(axis=0), x.max(axis=0))
        mean = np.where(present, x, 0.0).sum(axis=0) / np.maximum(count, 1)
        squares = (np.where(present, x - mean, 0.0) ** 2).sum(axis=0)
        low = np.where(present, x, np.inf).min(axis=0, initial=np.inf)
        return cls(count, mean, squares, low, np.where(present, x, -np.inf).max(axis=0, initial=-np.inf))

    @classmethod
    def constant(cls, value: Any, count: Array) -> Self:
        """The moments of `count` [F] cells, all of them `value` [F]."""
        value = np.asarray(value, "float64")
        return cls(
            count,
            np.where(count > 0, value, 0.0),
            np.zeros(len(count)),
            np.where(count > 0, value, np.inf),
            np.where(count > 0, value, -np.inf),
        )

    def __add__(self, other: Self) -> Self:
        count = self.count + other.count
        rows = np.maximum(count, 1)
        change = other.mean - self.mean
        return type(self)(
            count,
            self.mean + change * other.count / rows,
            self.squares + other.squares + change**2 * (self.count * (other.count / rows)),
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
        )

    @property
    def deviation(self) -> Array:
        """The standard deviation of each column, 0 for one that is constant or empty."""
        return np.where(self.low < self.high, np.sqrt(self.squares / np.maximum(self.count, 1)), 0.0)

    def fill(self, missing: str) -> Array:
        """The value that replaces a missing cell of each column, by the `mean` or the minimum; 0 without values."""
        return self.mean if missing == "mean" else np.where(self.count > 0, self.low, 0.0)
