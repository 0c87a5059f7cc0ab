"""The reader `arrow`: Arrow IPC files and streams, and Feather."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from ml4ir_losses.core.registry import register_reader
from ml4ir_losses.data.arrow_chunks import arrow_chunks, open_arrow
from ml4ir_losses.data.table import Table

_FILE = b"ARROW1"


@register_reader("arrow", aliases=("feather", "ipc"), endings=(".arrow", ".feather", ".ipc", ".arrows"))
def read_arrow(path: str) -> Iterator[Table]:
    """Arrow IPC files, which Feather files are, and IPC streams; rows as in Parquet.

    Raises:
        DataError: no rows, or a file that is none of these or is cut off.
    """
    with open_arrow(path, "Arrow") as stream:
        is_file = stream.read(len(_FILE)) == _FILE
        stream.seek(0)
        yield from arrow_chunks(_batches(stream) if is_file else pa.ipc.open_stream(stream), path)


def _batches(stream: pa.NativeFile) -> Iterator[pa.RecordBatch]:
    reader = pa.ipc.open_file(stream)
    return (reader.get_batch(i) for i in range(reader.num_record_batches))
