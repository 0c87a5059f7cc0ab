"""The writer `trec`: a run, the judgments and the texts beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.registry import register_writer
from ml4ir_losses.data.cells import is_text
from ml4ir_losses.data.files import without_compression
from ml4ir_losses.data.streaming.seen import SeenIds
from ml4ir_losses.data.table import Table, places, ranks_in_queries
from ml4ir_losses.data.writers.adjacent import AdjacentQueries, Queries
from ml4ir_losses.data.writers.base import Writer, WriterRoles
from ml4ir_losses.data.writers.cells import joined, json_objects, json_texts, texts, write_lines


@register_writer("trec", endings=(".run", ".trec"))
class TrecWriter(Writer):
    """A TREC run; the labels in `OUT.qrels` and the texts in `OUT.queries.jsonl` and `OUT.documents.jsonl`.

    A missing label is no judgment.

    Args:
        score: the column of the scores; None: documents keep their order.
        query: the column of the text of the query.
        document: the column of the text of the document.
        tag: the name of the run.

    Raises:
        DataError: for further columns, rows of a query that are not adjacent, and an id with a space.
    """

    def __init__(
        self,
        path: str,
        *,
        roles: WriterRoles,
        score: str | None = None,
        query: str | None = None,
        document: str | None = None,
        tag: str = "run",
    ) -> None:
        super().__init__(path, roles=roles)
        self.score = score
        self.tag = "_".join(tag.split()) or "run"
        self.query_id, self.document_id = roles.need("query_id", "trec"), roles.need("document_id", "trec")
        self.queries = AdjacentQueries(self.query_id, "trec")
        stem = os.path.splitext(path[: len(without_compression(path))])[0]
        self.qrels = f"{stem}.qrels" if roles.label else None
        self.texts = [
            _Texts(f"{stem}.{name}.jsonl", identity, column)
            for name, identity, column in (
                ("queries", self.query_id, query),
                ("documents", self.document_id, document),
            )
            if column is not None
        ]
        self._files: dict[str, Any] = {}

    @property
    def paths(self) -> list[str]:
        return [self.path, *([self.qrels] if self.qrels else []), *(part.path for part in self.texts)]

    def write(self, table: Table) -> None:
        held = {self.query_id, self.document_id, self.roles.label, self.score, *(part.column for part in self.texts)}
        others = [name for name in table.names if name not in held]
        if others:
            raise DataError(
                f"trec holds no column {others[0]!r}; {len(others)} columns are to be left out, for instance by naming "
                f"those that are written: --columns {self.roles.label or self.query_id}"
            )
        self._write_queries(self.queries.add(table))

    def close(self) -> None:
        self._write_queries(self.queries.rest())

    def _write_queries(self, queries: Iterator[Queries]) -> None:
        """Writes whole queries."""
        for table, offsets in queries:
            ids = [self.ids(table, name) for name in (self.query_id, self.document_id)]
            if self.score is None:
                ranks = places(offsets)
                scores = pa.array(1.0 / ranks)
            else:
                numbers = table.numeric(self.score, missing=False)
                ranks, scores = ranks_in_queries(numbers, ids[0]), pa.array(numbers)
            run = [ids[0], "Q0", ids[1], texts(pa.array(ranks)), texts(scores), self.tag]
            write_lines(self._file(self.path), joined(run, " "))
            if self.qrels:
                grades = texts(pa.array(table.numeric(str(self.roles.label)), from_pandas=True))
                lines = joined([ids[0], "0", ids[1], grades], " ")
                write_lines(self._file(self.qrels), lines.filter(pc.is_valid(grades)))
            for part in self.texts:
                write_lines(self._file(part.path), part.lines(self, table))

    def _file(self, path: str) -> Any:
        if path not in self._files:
            self._files[path] = self.create(path)
        return self._files[path]


class _Texts:
    """The texts of a column, once per id."""

    def __init__(self, path: str, identity: str, column: str) -> None:
        self.path, self.identity, self.column = path, identity, column
        self._seen = SeenIds()

    def lines(self, writer: Writer, table: Table) -> Any:
        """A JSON object for each id that has a text and did not occur before."""
        ids, cells = writer.ids(table, self.identity), table.to_arrow()[self.column].combine_chunks()
        if not is_text(cells.type):
            raise writer.cannot_hold(self.column, f"{cells.type} as texts")
        ids, cells = (part.filter(pc.is_valid(cells)) for part in (ids, cells))
        new = pa.array(~self._seen.add(ids.to_pylist()))
        members = {"_id": json_texts(ids.filter(new)), "text": json_texts(cells.filter(new))}
        return json_objects(members)
