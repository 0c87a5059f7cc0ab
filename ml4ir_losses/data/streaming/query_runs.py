"""The numbers of rows of queries, in 16 bytes per query."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from ml4ir_losses.core.arrays import Array

_COMPACT_AT = 1 << 20


class QueryRuns:
    """Collects runs of rows with the same query id; ids are told apart by a 64-bit hash."""

    def __init__(self) -> None:
        self._runs = 0
        self._last: str | None = None
        self._hashes: list[Array] = []
        self._sizes: list[Array] = []
        self._pending = 0

    def add(self, ids: Sequence[str], sizes: Array) -> None:
        """Adds runs: the ids and the numbers of rows."""
        self._runs += len(ids) - (ids[0] == self._last)
        self._last = ids[-1]
        self._hashes.append(np.fromiter((hash(name) for name in ids), np.int64, len(ids)))
        self._sizes.append(np.asarray(sizes, np.int64))
        self._pending += len(ids)
        if self._pending > _COMPACT_AT:
            self._compact()

    def sizes(self) -> Array:
        """The number of rows of each query, [Q]."""
        self._compact()
        return self._sizes[0]

    @property
    def adjacent(self) -> bool:
        """True if the rows of every query are adjacent."""
        return self._runs == len(self.sizes())

    def _compact(self) -> None:
        """Joins the runs of the same query."""
        hashes, query = np.unique(np.concatenate(self._hashes), return_inverse=True)
        sizes = np.zeros(len(hashes), np.int64)
        np.add.at(sizes, query, np.concatenate(self._sizes))
        self._hashes, self._sizes, self._pending = [hashes], [sizes], 0


def first_rows(ids: Array) -> Array:
    """The rows at which another query begins than that of the row before, [Q]."""
    codes = pa.array(ids).dictionary_encode().indices.to_numpy()
    return np.flatnonzero(np.concatenate([[True], codes[1:] != codes[:-1]]))
