"""The writer `tfrecord`: queries and documents as TF-Ranking and ml4ir read them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.core.registry import register_writer
from ml4ir_losses.data.table import Table
from ml4ir_losses.data.writers.adjacent import AdjacentQueries, Queries
from ml4ir_losses.data.writers.base import Writer, WriterRoles


@register_writer("tfrecord", endings=(".tfrecord", ".tfrecords"))
class TfrecordWriter(Writer):
    """A record per query, or per document: floats become float32, whole numbers int64, text and dates bytes.

    Args:
        kind: `elwc` (ExampleListWithContext) or `eie` (Example-in-Example) for TF-Ranking, `sequence_example` for
            ml4ir and TF-Ranking, `example` for a document per record. Features of the query are its id and the
            columns of queries.

    Raises:
        DataError: for structures and lists of lists; but for `example`, if rows of a query are not adjacent.
    """

    def __init__(
        self,
        path: str,
        *,
        roles: WriterRoles,
        kind: Literal["elwc", "eie", "sequence_example", "example"] = "elwc",
    ) -> None:
        super().__init__(path, roles=roles)
        self.kind = kind
        self.stream: Any = None
        self.rounded: set[str] = set()
        self.queries = None if kind == "example" else AdjacentQueries(roles.need("query_id", kind), kind)

    def write(self, table: Table) -> None:
        self._tell_rounding(table)
        if self.queries is not None:
            self._write_queries(self.queries.add(table))
            return
        from ml4ir_losses.data.tfrecord.writing import examples

        self._write(examples(self.cells(table)))

    def close(self) -> None:
        if self.queries is not None:
            self._write_queries(self.queries.rest())

    def _tell_rounding(self, table: Table) -> None:
        """Logs once which columns of float64 lose digits."""
        for name, column in table.columns.items():
            if name in self.rounded or not pa.types.is_float64(column.type):
                continue
            rounded = pc.cast(pc.cast(column, pa.float32(), safe=False), pa.float64())
            if pc.any(pc.not_equal(rounded, column)).as_py():
                self.rounded.add(name)
                LOGGER.info("The numbers of column %r are rounded to float32; tfrecord holds no others.", name)

    def _write_queries(self, found: Iterator[Queries]) -> None:
        from ml4ir_losses.data.tfrecord.writing import queries

        for table, offsets in found:
            cells = self.cells(table)
            of_query = [str(self.roles.query_id), *self.roles.query_columns]
            context = cells.select(of_query).take(pa.array(offsets[:-1]))
            documents = cells.select([name for name in cells.column_names if name not in of_query])
            self._write(queries(self.kind, context, documents, offsets))

    def _write(self, records: Iterable[bytes]) -> None:
        from ml4ir_losses.data.tfrecord.framing import framed
        from ml4ir_losses.data.tfrecord.writing import UnknownCellsError

        if self.stream is None:
            self.stream = self.create(self.path)
        try:
            for record in records:
                self.stream.write(framed(record))
        except UnknownCellsError as error:
            raise self.cannot_hold(error.name, error.cells) from None
