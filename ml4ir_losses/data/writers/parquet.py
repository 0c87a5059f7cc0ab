"""The writer `parquet`."""

from __future__ import annotations

from typing import Literal

import pyarrow.parquet as pq

from ml4ir_losses.core.registry import register_writer
from ml4ir_losses.data.writers.base import ColumnarWriter, WriterRoles


@register_writer("parquet", endings=(".parquet", ".pq"))
class ParquetWriter(ColumnarWriter):
    """Parquet; a row group per chunk.

    Args:
        compression: of the columns.
    """

    def __init__(
        self,
        path: str,
        *,
        roles: WriterRoles,
        compression: Literal["zstd", "snappy", "gzip", "lz4", "none"] = "zstd",
    ) -> None:
        super().__init__(path, roles=roles)
        self.compression = compression

    def open(self, schema: object) -> pq.ParquetWriter:
        """The writer of Arrow tables."""
        return pq.ParquetWriter(self.create(self.path), schema, compression=self.compression)
