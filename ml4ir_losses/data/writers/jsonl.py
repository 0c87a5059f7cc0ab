"""The writer `jsonl`: a JSON object per line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from ml4ir_losses.core.registry import register_writer
from ml4ir_losses.data.table import Table
from ml4ir_losses.data.writers.adjacent import AdjacentQueries, Queries
from ml4ir_losses.data.writers.base import Writer, WriterRoles
from ml4ir_losses.data.writers.cells import joined, joined_groups, json_objects, json_texts, whole, write_lines


@register_writer("jsonl", aliases=("ndjson",), endings=(".jsonl", ".ndjson"))
class JsonlWriter(Writer):
    """A JSON object per document, or per query with its documents.

    Args:
        nested: a line per query: its id, the columns of the query, and a list `documents` of objects.

    Raises:
        DataError: for cells that JSON does not know, such as bytes; for `nested`, if rows of a query are not adjacent.
    """

    def __init__(self, path: str, *, roles: WriterRoles, nested: bool = False) -> None:
        super().__init__(path, roles=roles)
        self.queries = AdjacentQueries(roles.need("query_id", "nested JSONL"), "nested JSONL") if nested else None
        self.stream: Any = None

    def write(self, table: Table) -> None:
        if self.queries is None:
            cells = self.cells(table)
            self._write(self._objects(cells.column_names, cells))
        else:
            self._write_queries(self.queries.add(table))

    def close(self) -> None:
        if self.queries is not None:
            self._write_queries(self.queries.rest())

    def _write_queries(self, queries: Iterator[Queries]) -> None:
        """Writes a line per query."""
        for table, offsets in queries:
            cells = self.cells(table)
            of_query = [str(self.roles.query_id), *self.roles.query_columns]
            rows = cells.take(pa.array(offsets[:-1])).select(of_query)
            documents = self._objects([name for name in cells.column_names if name not in of_query], cells)
            lists = joined(["[", joined_groups(documents, offsets, ", "), "]"], "")
            self._write(self._objects(of_query, rows, {"documents": lists}))

    def _objects(self, names: list[str], cells: Any, more: dict[str, Any] | None = None) -> Any:
        """A JSON object per row; the values of `more` are JSON already."""
        columns = {}
        for name in names:
            try:
                columns[name] = json_texts(whole(cells[name]))
            except pa.ArrowException:
                raise self.cannot_hold(name, str(cells[name].type)) from None
        members = {**columns, **(more or {})}
        return json_objects(members) if members else pa.array(["{}"] * len(cells))

    def _write(self, lines: Any) -> None:
        if self.stream is None:
            self.stream = self.create(self.path)
        write_lines(self.stream, lines)
