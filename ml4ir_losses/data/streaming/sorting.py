"""Sorts rows by query on disk, with DuckDB."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.extras import import_extra
from ml4ir_losses.data.files import CHUNK_BYTES
from ml4ir_losses.data.streaming.cache import unfinished
from ml4ir_losses.data.table import Source, Table

_QUERY, _ROW, _ORIGIN, _FEATURES = "__query", "__row", "__origin", "__features"
_MEMORY = 256 << 20  # bytes that DuckDB gets at least

Chunks = Callable[[], Iterator[Table]]


@contextmanager
def sorted_by_query(chunks: Chunks, query_id: str, limit: float, folder: Path) -> Iterator[Iterator[Table]]:
    """A block with the rows in chunks, the rows of a query adjacent, in the order in which `Queries` has them.

    Queries come in the order of their first rows, and the rows of a query in file order. Messages about a row still
    name its place in its file. Temporary files are removed at the end of the block, whatever ends it.

    Args:
        chunks: reads the rows.
        query_id: the column of query ids.
        limit: bytes of memory that sorting may take, but at least 256 MiB.
        folder: where the temporary files are.

    Raises:
        DataError: when the temporary files cannot be written.
    """
    duckdb = import_extra("duckdb", "large", "Sorting rows by query on disk")
    path = unfinished(folder / f"sort-{secrets.token_hex(4)}")
    try:
        path.mkdir(parents=True)
        spool = _Spool(path, query_id)
        for number, chunk in enumerate(chunks()):
            spool.add(chunk, rereading_sources(chunks, number, chunk))
        with duckdb.connect(str(path / "sort.duckdb")) as connection:
            connection.execute(f"SET memory_limit = '{int(max(limit / 2, _MEMORY)) >> 20}MiB'")
            connection.execute(f"SET temp_directory = '{path}'")
            connection.execute("SET preserve_insertion_order = false")
            yield spool.sorted(connection)
    except (OSError, pa.ArrowException, duckdb.Error) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(
            f"{folder}: rows cannot be sorted there ({reason}). Set data.cache to a folder with more space, give "
            "data.memory more, or use files in which the rows of a query are adjacent."
        ) from None
    finally:
        shutil.rmtree(path, ignore_errors=True)


class _Spool:
    """Rows in Arrow files, a file per chunk, with the number of each row and the bytes of its features."""

    def __init__(self, folder: Path, query_id: str) -> None:
        self._folder, self._query_id = folder, query_id
        self._types: dict[str, Any] = {}
        self._sources: list[Source] = []
        self._files: list[Path] = []
        self._rows, self._origins = 0, 0
        self._first, self._width = 1, 0

    def add(self, chunk: Table, sources: list[Source]) -> None:
        """Writes a chunk, whose rows come from these sources."""
        self._check_columns(chunk)
        cells = {name: chunk.columns[name] for name in self._types}
        cells[_QUERY] = pa.array(chunk.strings(self._query_id))
        cells[_ROW] = pa.array(np.arange(self._rows, self._rows + len(chunk)))
        cells[_ORIGIN] = pa.array(chunk.origin + self._origins)
        if chunk.features is not None:
            cells[_FEATURES] = _as_bytes(chunk.features)
            self._first, self._width = min(self._first, chunk.first), max(self._width, chunk.features.shape[1])
        table = pa.table(cells)
        self._files.append(self._folder / f"{len(self._files)}.arrow")
        with pa.OSFile(str(self._files[-1]), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
        self._rows += len(chunk)
        self._origins += sum(source.rows for source in sources)
        self._sources += sources

    def _check_columns(self, chunk: Table) -> None:
        """Notes the columns of a chunk; those of different types become text, as `Table.concat` joins them."""
        names = list(chunk.columns)
        if not self._files:
            self._types = {name: chunk.columns[name].type for name in names}
        elif chunk.features is not None:  # svmlight: columns that not all rows have are left out
            self._types = {name: kind for name, kind in self._types.items() if name in names}
        for name in set(names) ^ set(self._types):
            if chunk.features is None:
                raise DataError(f"{chunk.source}: not all files have the column {name!r}.")
        for name, kind in self._types.items():
            self._types[name] = kind if kind == chunk.columns[name].type else pa.string()

    def _batches(self, names: list[str], remove: bool = False) -> Any:
        """Columns of all files as a reader of record batches; `remove`: each file is removed once it was read."""
        own = {_QUERY: pa.string(), _ROW: pa.int64(), _ORIGIN: pa.int64(), _FEATURES: pa.large_binary()}
        schema = pa.schema([(name, {**self._types, **own}[name]) for name in names])

        def read() -> Iterator[Any]:
            for path in self._files:
                with pa.OSFile(str(path)) as file:
                    table = pa.ipc.open_file(file).read_all().select(names)
                if remove:
                    path.unlink()
                columns = [pc.cast(column, kind) for column, kind in zip(table.columns, schema.types, strict=True)]
                yield from pa.table(columns, schema=schema).to_batches()

        return pa.RecordBatchReader.from_batches(schema, read())

    def sorted(self, connection: Any) -> Iterator[Table]:
        """The rows by query, in chunks."""
        connection.register("keys", self._batches([_QUERY, _ROW]))
        connection.execute(f"CREATE TEMP TABLE firsts AS SELECT {_QUERY}, min({_ROW}) AS first FROM keys GROUP BY ALL")
        names = [*self._types, _QUERY, _ROW, _ORIGIN, *[_FEATURES][: int(self._width > 0)]]
        bytes_per_row = sum(path.stat().st_size for path in self._files) / max(1, self._rows)
        connection.register("spool", self._batches(names, remove=True))
        query = f"SELECT spool.* FROM spool JOIN firsts USING ({_QUERY}) ORDER BY firsts.first, spool.{_ROW}"
        reader = connection.sql(query).to_arrow_reader(max(1, int(CHUNK_BYTES / max(1, bytes_per_row))))
        for batch in reader:
            if batch.num_rows:
                yield self._table(batch)

    def _table(self, batch: Any) -> Table:
        columns = {name: batch.column(name) for name in self._types}
        features = _from_bytes(batch.column(_FEATURES), self._width) if self._width else None
        return Table(columns, self._sources, features, self._first, batch.column(_ORIGIN).to_numpy())


def _as_bytes(features: Array) -> Any:
    """A row of features per cell, as its bytes."""
    width = features.shape[1] * 4
    data = pa.py_buffer(np.ascontiguousarray(features, np.float32))
    return pa.Array.from_buffers(
        pa.large_binary(), len(features), [None, pa.py_buffer(np.arange(len(features) + 1) * width), data]
    )


def _from_bytes(cells: Any, width: int) -> Array:
    """Features [rows, width] from the bytes of each row; features that a row lacks are 0."""
    cells = pc.cast(cells, pa.large_binary())
    _, ends, data = cells.buffers()
    starts = np.frombuffer(ends, np.int64)[cells.offset : cells.offset + len(cells) + 1]
    sizes = np.diff(starts) // 4
    values = np.frombuffer(data, np.float32)[starts[0] // 4 : starts[-1] // 4]
    if (sizes == width).all():
        return values.reshape(len(cells), width)
    features = np.zeros((len(cells), width), np.float32)
    features[np.arange(width) < sizes[:, None]] = values
    return features


def rereading_sources(chunks: Chunks, number: int, chunk: Table) -> list[Source]:
    """The sources of a chunk, which look up places by reading the files again, instead of keeping them all."""
    return [
        Source(source.name, source.rows, partial(_line, chunks, number, place), source.unit)
        for place, source in enumerate(chunk.sources)
    ]


def _line(chunks: Chunks, number: int, place: int, row: int) -> int | str:
    return next(islice(chunks(), number, None)).sources[place].line(row)
