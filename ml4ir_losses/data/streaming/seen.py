"""Which ids occurred before, in 8 bytes per id."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml4ir_losses.core.arrays import Array


class SeenIds:
    """Remembers ids by a 64-bit hash: of n ids, two have the same with a probability of about n² / 2⁶⁵."""

    def __init__(self) -> None:
        self._runs: list[Array] = []  # sorted, each less than half as long as the one before it

    def __len__(self) -> int:
        return sum(map(len, self._runs))

    def add(self, ids: Sequence[str] | Array) -> Array:
        """Adds ids; True for those that occurred before, in an earlier call or further up, [ids]."""
        before = np.zeros(len(ids), bool)
        if not len(ids):
            return before
        hashes = np.fromiter((hash(name) for name in ids), np.int64, len(ids))
        order = np.argsort(hashes, kind="stable")
        added = hashes[order]
        again = np.concatenate([[False], added[1:] == added[:-1]])
        for run in self._runs:
            place = np.minimum(np.searchsorted(run, added), len(run) - 1)
            again |= run[place] == added
        run = added[~again]
        while self._runs and len(self._runs[-1]) <= 2 * len(run):
            run = np.sort(np.concatenate([self._runs.pop(), run]))
        if len(run):
            self._runs.append(run)
        before[order] = again
        return before
