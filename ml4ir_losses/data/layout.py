"""The columns of a written file: which, and of which types, the same in every chunk."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml4ir_losses.core.errors import DataError, did_you_mean
from ml4ir_losses.data.cells import CellError, is_text, numbers, without_blanks
from ml4ir_losses.data.table import Table

_INTEGER = r"^-?(0|[1-9]\d{0,17})$"
_NUMBER = r"^[+-]?((0|[1-9]\d{0,14})(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?$"  # not 007, nor ids of more than 15 digits


class Layout:
    """The names and types of the columns, learned from chunks.

    Args:
        columns: names or globs of the columns that are kept; empty: all.
        exclude: names or globs of columns that are left out.
        keep: columns that are kept in any case, unless they are excluded.
        keep_text: names or globs of columns whose text is never read as numbers.
        untyped: the format holds text alone, such as CSV: columns of numbers get a type of numbers.
    """

    def __init__(
        self,
        columns: Iterable[str] = (),
        exclude: Iterable[str] = (),
        keep: Iterable[str] = (),
        keep_text: Iterable[str] = (),
        untyped: bool = False,
    ) -> None:
        self.columns, self.exclude = tuple(columns), tuple(exclude)
        self.keep, self.keep_text = set(keep), tuple(keep_text)
        self.types: dict[str, Any] = {}
        self._source: str | None = None  # of the first chunk
        self._untyped = untyped

    def add(self, table: Table) -> bool:
        """Takes a chunk into account; True if columns or types changed.

        Raises:
            DataError: for no column left, cells of types that do not go together, and a file with other columns.
        """
        cells = self._chosen(table)
        if self._source is None:
            self._source = table.source
        before = dict(self.types)
        for name, column in cells.items():
            kind = self._kind(name, column)
            if name not in before and before:
                self._check_new(table, name)
            self.types[name] = self._together(table, name, before.get(name, kind), kind)
        if before and table.features is None:
            for name in set(before) - set(cells):
                self._check_new(table, name)
        return self.types != before

    def table(self, table: Table) -> Table:
        """The rows with the columns and types of the layout; svmlight features that a chunk lacks are 0."""
        cells = self._chosen(table)
        columns = {}
        for name, kind in self.types.items():
            if name in cells:
                columns[name] = self._cast(table, name, cells[name], kind)
            elif table.features is not None:
                columns[name] = pa.array(np.zeros(len(table)), kind)
            else:
                columns[name] = pa.nulls(len(table), kind)
        return Table(columns, table.sources, origin=table.origin)

    def _chosen(self, table: Table) -> dict[str, Any]:
        """The columns that are kept."""
        cells = table.to_arrow()
        names = [
            name
            for name in cells.column_names
            if (not self.columns or name in self.keep or matches(name, self.columns))
            and not matches(name, self.exclude)
        ]
        for pattern in (*self.columns, *self.exclude):
            if self._source is None and not any(matches(name, [pattern]) for name in cells.column_names):
                raise DataError(
                    f"{table.source}: no column matches {pattern!r}.{did_you_mean(pattern, cells.column_names)}"
                )
        if not names:
            raise DataError(f"{table.source}: no column is left.")
        return {name: cells[name] for name in names}

    def _kind(self, name: str, column: Any) -> Any:
        """The type of a chunk's column."""
        if not is_text(column.type):
            return column.type
        if not self._untyped or matches(name, self.keep_text):
            return pa.string()
        values = without_blanks(column).drop_null()
        if not len(values):
            return pa.null()
        for pattern, kind in ((_INTEGER, pa.int64()), (_NUMBER, pa.float64())):
            if pc.all(pc.match_substring_regex(values, pattern)).as_py():
                return kind
        return pa.string()

    def _together(self, table: Table, name: str, before: Any, kind: Any) -> Any:
        """The type of cells of two types."""
        if before == kind:
            return kind
        if self._untyped and pa.string() in (before, kind):
            return pa.string()
        try:
            schemas = [pa.schema([(name, one)]) for one in (before, kind)]
            return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            raise DataError(
                f"{table.locate(0)} and below, column {name!r}: {kind}; the rows above hold {before}"
            ) from None

    def _check_new(self, table: Table, name: str) -> None:
        """Raises `DataError` for a column that only some of the files have; the rows of one file may lack some."""
        if table.features is None and table.source != self._source:
            raise DataError(f"{self._source} and {table.source}: only one of them has the column {name!r}.")

    def _cast(self, table: Table, name: str, column: Any, kind: Any) -> Any:
        """A column as another type."""
        if column.type == kind:
            return column
        if pa.types.is_null(kind):
            return pa.nulls(len(table))
        try:
            if is_text(column.type) and not is_text(kind):
                column = without_blanks(column)
                if pa.types.is_floating(kind):
                    return pa.array(numbers(column), from_pandas=True)
            return pc.cast(column, kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, CellError) as error:
            reason = str(error).partition("\n")[0]
            raise DataError(f"{table.locate(0)} and below, column {name!r}: {reason}") from None


def matches(name: str, patterns: Iterable[str]) -> bool:
    """True if a name matches one of the globs."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)
