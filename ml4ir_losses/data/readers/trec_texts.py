"""Texts of queries or documents from a file, found by their ids."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.delimited import Delimited
from ml4ir_losses.data.files import without_compression
from ml4ir_losses.data.readers import read_chunks
from ml4ir_losses.data.table import Table

_IDS = ("_id", "id", "docno", "docid", "doc_id", "document_id", "pid", "qid", "query_id")


class TextsById:
    """The texts of a file with an id per row: TSV lines of id and text, or a table with a column of ids and `text`.

    Args:
        path: the file.
        name: the column that the texts become, `query` or `document`; other columns keep their names.
        ids: the ids that are needed; other rows are not kept.

    Raises:
        DataError: for a file without ids or texts, or with an id that occurs twice.
    """

    def __init__(self, path: str, name: str, ids: Collection[str]) -> None:
        wanted = pa.array(sorted(ids), pa.string())
        parts = []
        for chunk in _chunks(path):
            identity = next((column for column in _IDS if column in chunk), None)
            if identity is None or "text" not in chunk:
                raise DataError(f"{path}: needs the columns 'text' and 'id' (or {', '.join(_IDS)}).")
            columns = {"id": pa.array(chunk.strings(identity), pa.string())}
            columns |= {_renamed(column, name): cells for column, cells in chunk.columns.items() if column != identity}
            part = pa.table(columns)
            parts.append(part.filter(pc.is_in(part["id"], wanted)))
        self.table = pa.concat_tables(parts, promote_options="permissive").combine_chunks()
        counts = pc.value_counts(self.table["id"])
        for count in counts:
            if count["counts"].as_py() > 1:
                raise DataError(f"{path}: the id {count['values'].as_py()!r} occurs {count['counts']} times.")

    def of(self, ids: pa.Array) -> dict[str, Any]:
        """The columns of the rows with these ids; null where the file has no such id."""
        rows = pc.index_in(ids, self.table["id"])
        return {name: self.table[name].take(rows) for name in self.table.column_names if name != "id"}


def _chunks(path: str) -> Iterator[Table]:
    if without_compression(path).endswith((".tsv", ".txt")):
        file = Delimited(path, "\t", quote="", has_header=False)
        first = next((cells for _, cells in file), [])
        if first and first[0].lower() not in _IDS:
            return file.chunks(["id", "text"], na_values=())
    return read_chunks(path)


def _renamed(column: str, name: str) -> str:
    return name if column == "text" else column
