"""Fingerprints of rows and queries, by which equal ones are found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.data.findings.base import query_of_rows
from ml4ir_losses.data.queries import Queries

_BLOCK = 1 << 20  # numbers that are multiplied at once
_ROWS = 50_000  # rows of a split that are compared with others


def row_prints(features: Mapping[str, Array]) -> Array:
    """A number for each row, [rows] uint64; equal rows have equal numbers, others by a chance of about 2^-64.

    A sum modulo 2^64 of the bits of the row, multiplied by fixed random numbers.
    """
    rows = len(next(iter(features.values())))
    total = np.zeros(rows, np.uint64)
    rng = np.random.default_rng(0)
    for name in sorted(features):
        values = np.ascontiguousarray(features[name].reshape(rows, -1))
        bits = (values if values.dtype.itemsize in (4, 8) else values.astype(np.int32)).view(np.uint32)
        factors = rng.integers(0, 1 << 63, bits.shape[1], np.uint64) * np.uint64(2) + np.uint64(1)
        step = max(1, _BLOCK // max(bits.shape[1], 1))
        for start in range(0, rows, step):
            total[start : start + step] += bits[start : start + step].astype(np.uint64) @ factors
    return _mixed_bits(total)


def _mixed_bits(x: Array) -> Array:
    """A bijection after which sums of numbers tell sets of them apart (the finaliser of SplitMix64, Steele 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x


@dataclass
class Prints:
    """Fingerprints of the rows of a split and of its queries, without their ids, labels and the order of rows.

    Attributes:
        data: the queries of the split.
        features: the inputs that other splits have, too.
    """

    data: Queries
    features: Mapping[str, Array]

    @cached_property
    def rows(self) -> Array:
        """[rows]."""
        return row_prints(self.features)

    @cached_property
    def queries(self) -> Array:
        """[Q]."""
        found: Array = np.add.reduceat(self.rows, self.data.offsets[:-1])
        return found

    @cached_property
    def query(self) -> Array:
        """The number of the query of each row, [rows]."""
        return query_of_rows(self.data.offsets)

    @cached_property
    def collision(self) -> float:
        """The chance that two different queries are equal."""
        counts = np.unique(self.queries, return_counts=True)[1]
        pairs = len(self.queries) * (len(self.queries) - 1)
        return float((counts * (counts - 1)).sum()) / pairs if pairs else 0.0

    @cached_property
    def repeated_rows(self) -> float:
        """The share of rows that equal a row of another query of the split."""
        some = self.sampled(self.rows)
        return repeated(self.rows[some], self.query[some])

    def sampled(self, rows: Array) -> Array:
        """True for about `_ROWS` rows of the split, and for those of other splits that equal one of them."""
        found: Array = rows % np.uint64(max(1, len(self.rows) // _ROWS)) == 0
        return found


def repeated(items: Array, query: Array) -> float:
    """The share of rows whose item, a number, occurs in another query, too."""
    distinct, code = np.unique(items, return_inverse=True)
    pairs = np.unique(code.astype(np.int64) * (int(query[-1]) + 1) + query)
    queries = np.bincount(pairs // (int(query[-1]) + 1), minlength=len(distinct))
    return float((queries[code] > 1).mean())
