"""Rows that may not fit into memory: read at once if they fit, else as blocks of whole queries."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from ml4ir_losses.config.input_base import ANY_LIST, ListColumns
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.log import LOGGER, with_progress
from ml4ir_losses.core.memory import readable_size
from ml4ir_losses.data.files import CHUNK_BYTES, bytes_read
from ml4ir_losses.data.nested import unnest, unnest_chunks
from ml4ir_losses.data.queries import EmptyQueryError
from ml4ir_losses.data.readers import checked_options, has_own_format, paths_of, read_chunks, read_files
from ml4ir_losses.data.streaming.seen import SeenIds
from ml4ir_losses.data.streaming.sorting import sorted_by_query
from ml4ir_losses.data.table import Table

COPIES = 3
"""Data in memory are held as they were read, encoded, and ordered by query, all at a time."""
_EARLY, _CLEARLY = 4, 1.25  # chunks after which the size is estimated; how much too large it must then look

Result = TypeVar("Result")


@dataclass
class RowSource:
    """Files or data in memory, whose rows can be read several times.

    Attributes:
        spec: a path, a glob or a list of them; or data in memory.
        format: the key of a reader; None: by the ending of each file.
        options: parameters of the reader.
        lists: what lists in the cells of columns are.
        keep: gives those of the rows that belong to the source; None: all.
    """

    spec: Any
    format: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    lists: ListColumns = ANY_LIST
    keep: Callable[[Table], Table] | None = None

    @classmethod
    def of(cls, data: Any, format: str | None, options: Mapping[str, Any], lists: ListColumns = ANY_LIST) -> Self:
        """Data in memory, or a file in the config's format.

        If that format (`synthetic`) reads no files, the file's ending tells the format.
        """
        return cls(data, lists=lists) if has_own_format(data, format) else cls(data, format, options, lists)

    def chunks(self) -> Iterator[Table]:
        """The rows in chunks of about `CHUNK_BYTES`, in file order; rows of lists as one row per item.

        Raises:
            ConfigError: for an unknown format, or wrong options.
            DataError: for data that cannot be read.
        """
        with checked_options():
            for table in unnest_chunks(read_chunks(self.spec, self.format, **self.options), self.lists):
                table = table if self.keep is None else self.keep(table)
                rows = max(1, CHUNK_BYTES * len(table) // max(1, table.nbytes))
                if len(table) >= 2 * rows:  # a reader that gives all rows at once
                    yield from (table.slice(i, min(i + rows, len(table))) for i in range(0, len(table), rows))
                elif len(table):
                    yield table

    def table(self) -> Table:
        """All rows as one table."""
        return unnest(read_files(self.spec, self.format, self.options), lists=self.lists)

    @property
    def paths(self) -> list[str]:
        """The files; empty for data in memory."""
        return paths_of(self.spec)

    def with_progress(self, chunks: Iterable[Table], text: str) -> Iterator[Table]:
        """The chunks of the source, or tables made from them, with a progress bar."""
        sizes = self.sizes()
        return with_progress(chunks, text, lambda: self.share_read(sizes))

    def share_read(self, sizes: Mapping[str, int]) -> float | None:
        """The share of the stored bytes that has been read; None if it is not known."""
        current = {path: position for path in sizes if (position := bytes_read(path)) is not None}
        if len(current) != 1:
            return None
        (path, position), files = next(iter(current.items())), list(sizes)
        before = sum(sizes[file] for file in files[: files.index(path)])
        return (before + position) / max(1, sum(sizes.values()))

    def sizes(self) -> dict[str, int]:
        """The size of each file of this machine."""
        return {path: os.path.getsize(path) for path in self.paths if os.path.isfile(path)}


def read_within(source: RowSource, limit: float) -> Table | Iterator[Table]:
    """All rows as one table if that takes at most `limit` bytes in all, else their chunks.

    Chunks that were read before it was clear are not read again.
    """
    if not source.paths:  # in memory already
        return source.table()
    chunks, read, used = source.chunks(), list[Table](), 0
    sizes = source.sizes()
    for chunk in chunks:
        read.append(chunk)
        used += chunk.nbytes * COPIES
        share = source.share_read(sizes) if len(read) >= _EARLY else None
        if used > limit or (share and used / share > _CLEARLY * limit):
            return _popped(read, chunks)
    return Table.concat(read) if read else source.table()  # which says why there are none


def _popped(read: list[Table], chunks: Iterator[Table]) -> Iterator[Table]:
    """The chunks, without keeping those that were used."""
    while read:
        yield read.pop(0)
    yield from chunks


class ScatteredRows(Exception):
    """The rows of a query are not adjacent."""


class QueryStarts:
    """Finds where queries start in rows that come in chunks, and one that comes again after another query.

    Ids are told apart by hashes: in the improbable case that two are the same, rows are sorted without need.
    """

    def __init__(self) -> None:
        self._seen = SeenIds()
        self._last: str | None = None
        self.scattered = False

    def add(self, ids: Array) -> Array:
        """The rows at which another query starts than in the row before, given the query id of each row."""
        starts = np.flatnonzero(np.concatenate([[ids[0] != self._last], ids[1:] != ids[:-1]]))
        self._last = ids[-1]
        self.scattered |= bool(self._seen.add(ids[starts]).any())
        return starts

    def __len__(self) -> int:
        return len(self._seen)


def query_blocks(
    chunks: Iterable[Table], query_id: str, limit: float = np.inf, queries: QueryStarts | None = None
) -> Iterator[Table]:
    """Tables of whole queries, from chunks in which the rows of a query are adjacent; `queries` gets their ids.

    Raises:
        ScatteredRows: if they are not.
        DataError: for a query that takes more than `limit` bytes.
    """
    queries = QueryStarts() if queries is None else queries
    held: list[Table] = []  # rows of the last query, of which more may come
    for chunk in chunks:
        chunk.require(query_id, "features.query_id")
        ids = chunk.strings(query_id)
        starts = queries.add(ids)
        if queries.scattered:
            raise ScatteredRows
        cut = int(starts[-1]) if len(starts) else 0
        if len(starts) and (held or cut):
            yield Table.concat([*held, *([chunk.slice(0, cut)] if cut else [])])
            held = []
        held.append(chunk.slice(cut, len(chunk)))
        if COPIES * sum(rows.nbytes for rows in held) > max(limit, 2 * COPIES * CHUNK_BYTES):
            raise DataError(
                f"{held[0].locate(0)}: query {ids[-1]!r} has more than {sum(map(len, held)):,} documents, which do not "
                f"fit into data.memory ({readable_size(limit)})."
            )
    if held:
        yield Table.concat(held)


def with_blocks(
    source: RowSource,
    chunks: Iterator[Table],
    query_id: str,
    limit: float,
    use: Callable[[Iterator[Table]], Result],
    folder: Path,
) -> Result:
    """What `use` gives for the rows of a source, as tables of whole queries; rows are sorted on disk if needed.

    If rows of a query turn out not to be adjacent, `use` is called again, with sorted rows.

    Args:
        source: the rows.
        chunks: the chunks of the source.
        query_id: the column of query ids.
        limit: bytes that the data may take in memory.
        use: a function of the blocks; an exception in it must leave nothing behind.
        folder: for the temporary files of sorting.
    """
    queries = QueryStarts()
    try:
        return use(query_blocks(chunks, query_id, limit, queries))
    except (ScatteredRows, EmptyQueryError) as error:
        if isinstance(error, EmptyQueryError):  # its other rows may be elsewhere
            for chunk in chunks:
                queries.add(chunk.strings(query_id))
            if not queries.scattered:
                raise
        name = ", ".join(source.paths[:3]) + (", ..." if len(source.paths) > 3 else "")
        LOGGER.info("%s: the rows of a query are not adjacent; they are sorted on disk, in %s", name, folder)

    def chunks_again() -> Iterator[Table]:
        return source.with_progress(source.chunks(), "sorting rows by query")

    with sorted_by_query(chunks_again, query_id, limit, folder) as ordered:
        return use(query_blocks(ordered, query_id, limit))
