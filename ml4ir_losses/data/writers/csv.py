"""The writer `csv`."""

from __future__ import annotations

from typing import Annotated, Any

import pyarrow.compute as pc
import pyarrow.csv as pacsv
from annotated_types import Len

from ml4ir_losses.core.parameters import Allowed
from ml4ir_losses.core.registry import register_writer
from ml4ir_losses.data.cells import is_list
from ml4ir_losses.data.files import without_compression
from ml4ir_losses.data.table import Table
from ml4ir_losses.data.writers.base import Writer, WriterRoles
from ml4ir_losses.data.writers.cells import joined_lists, texts, whole

Character = Annotated[str, Len(1, 1), Allowed("one character")]


@register_writer("csv", aliases=("tsv",), endings=(".csv", ".tsv"))
class CsvWriter(Writer):
    """CSV with a header line; a missing cell is empty.

    Args:
        delimiter: one character; None: a tab for `.tsv`, else a comma.
        list_separator: the text between the items of a list; None: columns of lists are refused.

    Raises:
        DataError: for a column of lists.
    """

    def __init__(
        self, path: str, *, roles: WriterRoles, delimiter: Character | None = None, list_separator: str | None = None
    ) -> None:
        super().__init__(path, roles=roles)
        self.delimiter = delimiter or ("\t" if without_compression(path).endswith(".tsv") else ",")
        self.list_separator = list_separator
        self.file: Any = None

    def write(self, table: Table) -> None:
        cells = self.cells(table)
        if self.list_separator is not None:
            cells = self._joined(cells)
        self.refuse_lists(cells)
        if self.file is None:
            options = pacsv.WriteOptions(delimiter=self.delimiter)
            self.file = self.streams.enter_context(
                pacsv.CSVWriter(self.create(self.path), cells.schema, write_options=options)
            )
        self.file.write_table(cells)

    def _joined(self, cells: Any) -> Any:
        """The table with lists as text."""
        for i, field in enumerate(cells.schema):
            if is_list(field.type):
                lists = whole(cells.column(i))
                items = texts(pc.list_flatten(lists)).fill_null("")
                cells = cells.set_column(i, field.name, joined_lists(lists, items, self.list_separator or ""))
        return cells
