"""The rows of whole queries, from chunks that may end anywhere."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.streaming.query_runs import first_rows
from ml4ir_losses.data.streaming.seen import SeenIds
from ml4ir_losses.data.table import Table

Queries = tuple[Table, Array]
"""The rows of whole queries, and offsets [Q + 1]: query q holds the rows offsets[q] to offsets[q + 1]."""


class AdjacentQueries:
    """Collects chunks into whole queries; keeps the last query until its end is known.

    Args:
        column: the column of the query id.
        format: the format that needs adjacent rows, for messages.
    """

    def __init__(self, column: str, format: str) -> None:
        self.column, self.format = column, format
        self._seen = SeenIds()
        self._open: list[Table] = []  # the parts of the last query
        self._last: str | None = None

    def add(self, table: Table) -> Iterator[Queries]:
        """The queries that end within the rows so far.

        Raises:
            DataError: for a row without query id, and a query whose rows are not adjacent.
        """
        ids = table.strings(self.column, missing=False)
        starts = first_rows(ids)
        if ids[0] == self._last:
            starts = starts[1:]
        again = self._seen.add(list(ids[starts]))
        if again.any():
            row = int(starts[again.argmax()])
            raise DataError(
                f"{table.locate(row)}, column {self.column!r}: query {ids[row]!r} has rows further up, and "
                f"{self.format} holds the rows of a query together; sort them first (--sort)"
            )
        self._last = ids[-1]
        if not len(starts):
            self._open.append(table)
            return
        if self._open:
            yield from self._whole(np.arange(starts[0]), table)
        if len(starts) > 1:
            yield table.take(np.arange(starts[0], starts[-1])), starts - starts[0]
        self._open = [table.take(np.arange(starts[-1], len(table)))]

    def rest(self) -> Iterator[Queries]:
        """The last query."""
        if self._open:
            yield from self._whole(np.arange(0), self._open[0])
            self._open = []

    def _whole(self, rows: Array, table: Table) -> Iterator[Queries]:
        """The open query, with its last rows from `table`."""
        query = Table.concat([*self._open, table.take(rows)] if len(rows) else self._open)
        yield query, np.array([0, len(query)])
