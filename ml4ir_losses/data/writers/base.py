"""The base class of writers, and the roles of columns in a written file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.files import without_compression
from ml4ir_losses.data.table import Table
from ml4ir_losses.data.writers.output import create_binary


@dataclass(frozen=True)
class WriterRoles:
    """The columns that a format treats in a way of its own; None: there is no such column.

    Attributes:
        query_id: the query of a row.
        label: the relevance of a row.
        document_id: the document of a row.
        weight: the weight of a row.
        position: the rank at which the document was shown.
        query_columns: columns with one value per query, besides `query_id`.
    """

    query_id: str | None = None
    label: str | None = None
    document_id: str | None = None
    weight: str | None = None
    position: str | None = None
    query_columns: tuple[str, ...] = ()

    def need(self, role: str, format: str) -> str:
        """The column of a role that a format cannot do without.

        Raises:
            DataError: when no column has it.
        """
        name: str | None = getattr(self, role)
        if name is None:
            raise DataError(f"{format} needs the column of the {role.replace('_', ' ')}; name it by `{role}`.")
        return name


class Writer(ABC):
    """Writes the chunks of a file; the parameters of `__init__` after `roles` are the options of the format.

    A writer may write more files into the folder of `path`. What it opens by `create` is closed in any case.

    Args:
        path: the file that is written, or a URL.
        roles: the roles of the columns.
    """

    key: str

    def __init__(self, path: str, *, roles: WriterRoles = WriterRoles()) -> None:
        self.path = path
        self.roles = roles
        self.streams = ExitStack()
        self.schema: Any = None

    @property
    def paths(self) -> list[str]:
        """All files that are written."""
        return [self.path]

    @abstractmethod
    def write(self, table: Table) -> None:
        """Writes the rows of a chunk; all chunks have the same columns.

        Raises:
            DataError: for a column or a cell that the format cannot hold.
        """

    def close(self) -> None:  # noqa: B027  most writers have nothing left to write
        """Writes what is left after the last chunk."""

    def create(self, path: str) -> Any:
        """A binary stream to a new file, compressed by its ending, that is closed with the writer."""
        return self.streams.enter_context(create_binary(path))

    def cells(self, table: Table) -> Any:
        """The rows as a `pyarrow.Table`, whose columns have the types of the first chunk.

        Raises:
            DataError: for a column that a chunk lacks or adds, and a cell that does not fit the type of its column.
        """
        cells = table.to_arrow()
        if self.schema is None:
            self.schema = cells.schema
        if cells.schema == self.schema:
            return cells
        other = set(cells.column_names) ^ set(self.schema.names)
        if other:
            raise DataError(f"{table.source}: some of the rows have the column {min(other)!r}, others do not.")
        columns = []
        for field in self.schema:
            try:
                columns.append(pc.cast(cells[field.name], field.type))
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                reason = str(error).partition("\n")[0]
                raise DataError(
                    f"{table.locate(0)} and below, column {field.name!r}: not all are {field.type} as above: {reason}"
                ) from None
        return pa.table(columns, schema=self.schema)

    def refuse_lists(self, table: Any) -> None:
        """Raises `DataError` for a column of a `pyarrow.Table` whose cells are lists."""
        for field in table.schema:
            if pa.types.is_nested(field.type):
                raise self.cannot_hold(field.name, "lists")

    def ids(self, table: Table, name: str) -> Any:
        """A column of ids as an Arrow array of texts.

        Raises:
            DataError: for a missing id, and one that would end at a space or a # in the file.
        """
        ids = pa.array(table.strings(name, missing=False), pa.string())
        wrong = pc.match_substring_regex(ids, r"[\s#]")
        if pc.any(wrong).as_py():
            row = pc.index(wrong, True).as_py()
            raise DataError(
                f"{table.locate(row)}, column {name!r}: {ids[row].as_py()!r:.60} holds a space or #, which ids in "
                f"{self.key} cannot"
            )
        return ids

    def cannot_hold(self, name: str, cells: str) -> DataError:
        """The error that a format cannot hold the cells of a column."""
        return DataError(
            f"column {name!r}: {self.key} cannot hold {cells}; leave it out (--exclude {name}) or take another format"
        )


class ColumnarWriter(Writer):
    """A writer of Arrow tables, which holds every column as it is."""

    def __init__(self, path: str, *, roles: WriterRoles) -> None:
        super().__init__(path, roles=roles)
        self._file: Any = None
        if without_compression(path) != path.lower():
            raise DataError(f"{path}: {self.key} compresses its columns itself; leave out the ending .gz or .zst.")

    @abstractmethod
    def open(self, schema: Any) -> Any:
        """The writer of `pyarrow.Table`s with this schema."""

    def write(self, table: Table) -> None:
        cells = self.cells(table)
        if self._file is None:
            self._file = self.streams.enter_context(self.open(cells.schema))
        self._file.write_table(cells)
