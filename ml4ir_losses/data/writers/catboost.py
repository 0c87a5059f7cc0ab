"""The writer `catboost`: tab-separated cells, and a column description beside them."""

from __future__ import annotations

import os
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.registry import register_writer
from ml4ir_losses.data.cells import is_list, is_text
from ml4ir_losses.data.files import without_compression
from ml4ir_losses.data.table import Table
from ml4ir_losses.data.writers.base import Writer, WriterRoles
from ml4ir_losses.data.writers.cells import joined, joined_lists, texts, whole, write_lines

_ROLES = {"query_id": "GroupId", "label": "Label", "document_id": "SampleId", "weight": "Weight"}


@register_writer("catboost")
class CatBoostWriter(Writer):
    """CatBoost's tab-separated values without a header line, and `OUT.cd`, the column description.

    Numbers become Num, lists of numbers NumVector, everything else Categ. A missing cell is empty, a text with
    a tab or a quote stands in quotes.

    Args:
        text: columns of the type Text.

    Raises:
        DataError: for lists of texts, and a text with a line end.
    """

    def __init__(self, path: str, *, roles: WriterRoles, text: list[str] | None = None) -> None:
        super().__init__(path, roles=roles)
        self.text = text or []
        bare = path[: len(without_compression(path))]
        self.description = f"{os.path.splitext(bare)[0]}.cd"
        self.stream: Any = None

    @property
    def paths(self) -> list[str]:
        return [self.path, self.description]

    def write(self, table: Table) -> None:
        cells = self.cells(table)
        if self.stream is None:
            self.stream = self.create(self.path)
            kinds = [f"{i}\t{self._kind(field)}\t{field.name}" for i, field in enumerate(cells.schema)]
            write_lines(self.create(self.description), pa.array(kinds))
        columns = [
            self._texts(table, name, whole(column))
            for name, column in zip(cells.column_names, cells.columns, strict=True)
        ]
        write_lines(self.stream, joined(columns, "\t", missing=""))

    def _kind(self, field: Any) -> str:
        """CatBoost's type of a column."""
        for role, kind in _ROLES.items():
            if field.name == getattr(self.roles, role):
                return kind
        if field.name in self.text:
            return "Text"
        if is_list(field.type):
            return "NumVector"
        return "Num" if pa.types.is_integer(field.type) or pa.types.is_floating(field.type) else "Categ"

    def _texts(self, table: Table, name: str, cells: Any) -> Any:
        """The cells of a column as text."""
        if is_list(cells.type):
            items = pc.list_flatten(cells)
            if not (pa.types.is_integer(items.type) or pa.types.is_floating(items.type)):
                raise self.cannot_hold(name, f"lists of {items.type}")
            return joined_lists(cells, texts(items), ";")
        try:
            column = texts(cells)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise self.cannot_hold(name, str(cells.type)) from None
        if not is_text(cells.type):
            return column
        wrong = pc.match_substring_regex(column, r"[\n\r]").fill_null(False)
        if pc.any(wrong).as_py():
            row = pc.index(wrong, True).as_py()
            raise DataError(
                f"{table.locate(row)}, column {name!r}: "
                f"catboost holds no line ends. Received: {column[row].as_py()!r:.60}"
            )
        quoted = joined(['"', pc.replace_substring(column, '"', '""'), '"'], "")
        return pc.if_else(pc.match_substring_regex(column, r'[\t"]'), quoted, column)
