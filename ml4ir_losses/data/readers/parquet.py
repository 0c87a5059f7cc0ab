"""The reader `parquet`."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow.parquet as pq

from ml4ir_losses.core.registry import register_reader
from ml4ir_losses.data.arrow_chunks import arrow_chunks, open_arrow
from ml4ir_losses.data.files import CHUNK_BYTES
from ml4ir_losses.data.table import Table

_BUFFER = 1 << 16  # bytes of a column that are read at once; pre_buffer would keep all that was read of the file


@register_reader("parquet", endings=(".parquet", ".pq"))
def read_parquet(path: str) -> Iterator[Table]:
    """Parquet, with a row per document, or a row per query with lists of its documents.

    Raises:
        DataError: no rows, or a file that is no Parquet file or is cut off.
    """
    with open_arrow(path, "Parquet") as stream:
        file = pq.ParquetFile(stream, pre_buffer=False, buffer_size=_BUFFER)
        groups = (file.metadata.row_group(i) for i in range(file.num_row_groups))
        size = sum(group.total_byte_size for group in groups)
        rows = max(1, file.metadata.num_rows * CHUNK_BYTES // max(size, 1))
        yield from arrow_chunks(file.iter_batches(batch_size=min(rows, file.metadata.num_rows or 1)), path)
