"""The writer `arrow`: Arrow's file format, which is Feather version 2."""

from __future__ import annotations

from typing import Any, Literal

import pyarrow as pa

from ml4ir_losses.core.registry import register_writer
from ml4ir_losses.data.writers.base import ColumnarWriter, WriterRoles


@register_writer("arrow", aliases=("feather", "ipc"), endings=(".arrow", ".feather", ".ipc"))
class ArrowWriter(ColumnarWriter):
    """Arrow or Feather; a record batch per chunk.

    Args:
        compression: of the columns.
    """

    def __init__(self, path: str, *, roles: WriterRoles, compression: Literal["zstd", "lz4", "none"] = "lz4") -> None:
        super().__init__(path, roles=roles)
        self.compression = None if compression == "none" else compression

    def open(self, schema: Any) -> Any:
        """The writer of Arrow tables."""
        options = pa.ipc.IpcWriteOptions(compression=self.compression)
        return pa.ipc.new_file(self.create(self.path), schema, options=options)
