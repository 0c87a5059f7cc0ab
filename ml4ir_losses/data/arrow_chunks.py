"""Tables from Arrow data: the part that Parquet, Arrow and JSON Lines files have in common."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.files import CHUNK_BYTES, COMPRESSIONS, open_binary, open_seekable
from ml4ir_losses.data.nested import without_structs
from ml4ir_losses.data.table import Source, Table


@contextmanager
def open_arrow(path: str, kind: str) -> Iterator[pa.NativeFile]:
    """The bytes of a file of Arrow's, in which its readers seek; a compressed file is unpacked into memory.

    Raises:
        DataError: no such file, an empty file, or what Arrow says about one that it cannot read.
    """
    compressed = path.lower().endswith(COMPRESSIONS)
    try:
        with open_binary(path) if compressed else open_seekable(path) as stream:
            stored: Any = io.BytesIO(stream.read()) if compressed else stream
            if not stored.read(1):
                raise DataError(f"{path} is empty.")
            stored.seek(0)
            with pa.PythonFile(stored, "r") as file:
                yield file
    except pa.ArrowException as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise DataError(f"{path} is no {kind} file, or a damaged one: {reason}.") from None


def arrow_chunks(batches: Iterable[pa.RecordBatch], path: str) -> Iterator[Table]:
    """The rows of the batches in tables of about `CHUNK_BYTES`; rows are counted from 0.

    Raises:
        DataError: for two columns of one name, and where there are no rows.
    """
    start = 0
    for batch in batches:
        names = batch.schema.names
        if len(set(names)) < len(names):
            raise DataError(f"{path}: the column {max(names, key=names.count)!r} occurs twice.")
        step = max(1, batch.num_rows * CHUNK_BYTES // max(batch.nbytes, 1))
        for first in range(0, batch.num_rows, step):
            rows = batch.slice(first, step)
            columns = without_structs(dict(zip(names, rows.columns, strict=True)))
            yield Table(columns, [_source(path, start + first, len(rows))])
        start += batch.num_rows
    if not start:
        raise DataError(f"{path} has no data rows.")


def _source(path: str, start: int, rows: int) -> Source:
    return Source(path, rows, lambda row: start + row, unit="row")
