"""Where the rows of a table came from, and a fingerprint of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from typing_extensions import TypedDict

from ml4ir_losses.data.table import Table


class Source(TypedDict):
    """Where the rows of a split came from, with their number and fingerprint."""

    sources: list[str]
    rows: int
    columns: int
    sha256: str


def describe(table: Table) -> dict[str, Any]:
    """Sources, number of rows, and a fingerprint of a table's rows."""
    return {
        "sources": list(dict.fromkeys(source.name for source in table.sources)),
        "rows": len(table),
        "columns": len(table.names),
        "sha256": fingerprint(table),
    }


def fingerprint(table: Table) -> str:
    """The SHA-256 of names and cells, in the order of columns and rows.

    Equal for equal rows of one kind of source; a number in a CSV file is text, and differs from that number in memory.
    """
    digest = hashlib.sha256()
    for name, cells in table.columns.items():
        digest.update(repr((name, str(cells.type), len(cells))).encode())
        batch = pa.record_batch(
            [pa.concat_arrays(cells.chunks)] if cells.num_chunks else [cells.combine_chunks()], [""]
        )
        digest.update(batch.serialize())
    if table.features is not None:
        digest.update(repr((table.first, table.features.shape)).encode())
        digest.update(np.ascontiguousarray(table.features).data)
    return digest.hexdigest()


class Description:
    """`describe` for rows that come in parts: the fingerprint is that of the fingerprints of the parts."""

    def __init__(self) -> None:
        self._sources: dict[str, None] = {}
        self._rows, self._columns = 0, 0
        self._digest = hashlib.sha256()

    def add(self, table: Table) -> None:
        """Adds the rows of a table."""
        self._sources |= dict.fromkeys(source.name for source in table.sources)
        self._rows += len(table)
        self._columns = max(self._columns, len(table.names))
        self._digest.update(fingerprint(table).encode())

    def result(self) -> dict[str, Any]:
        """The description of all rows."""
        rows = {"rows": self._rows, "columns": self._columns}
        return {"sources": list(self._sources), **rows, "sha256": self._digest.hexdigest()}


def joined(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The description of rows whose parts are described one by one."""
    return {
        "sources": [source for part in parts for source in part["sources"]],
        "rows": sum(part["rows"] for part in parts),
        "columns": max(part["columns"] for part in parts),
        "sha256": hashlib.sha256("".join(part["sha256"] for part in parts).encode()).hexdigest(),
    }
