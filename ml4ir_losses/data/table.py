"""`Table`: the rows of data files by column name, and the grouping of rows by query."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError, did_you_mean
from ml4ir_losses.core.files import write_atomically
from ml4ir_losses.data.cells import CellError, chunked, numbers, times, without_blanks

_FEATURE = re.compile(r"f(0|[1-9]\d*)")
_SHOWN_COLUMNS = 30


@dataclass(frozen=True)
class Source:
    """Where rows came from: a file or an object, its number of rows, and the place of its i-th row there.

    Attributes:
        name: the file, or what the object is called.
        rows: the number of rows.
        line: the number of the i-th row's line in a file, counted from 1.
        unit: what `line` counts.
        documents: each row is a document for sure, so lists in its cells are values of this document.
    """

    name: str
    rows: int
    line: Callable[[int], int | str]
    unit: str = "line"
    documents: bool = False


class Table:
    """Rows of documents; columns keep their raw cells until they are read as numbers or text.

    Args:
        columns: cells by column name, as numpy or Arrow arrays; null, NaN and "" are missing.
        sources: the files of the rows, in row order.
        features: [rows, width] float32, dense svmlight features: column i is the feature named `f<i>`.
        first: the lowest feature index that counts as a column, 0 or 1.
        origin: index of each row among the rows of `sources`; None: all rows in order.
    """

    def __init__(
        self,
        columns: Mapping[str, Any],
        sources: Sequence[Source],
        features: Array | None = None,
        first: int = 1,
        origin: Array | None = None,
    ) -> None:
        self.columns = {name: chunked(cells) for name, cells in columns.items()}
        self.sources = tuple(sources)
        self.features = features
        self.first = first
        self.origin = np.arange(sum(source.rows for source in self.sources)) if origin is None else origin
        lengths = {name: len(cells) for name, cells in self.columns.items()}
        for name, length in lengths.items():
            if length != len(self):
                raise DataError(f"{self.source}: column {name!r} has {length} cells for {len(self)} rows.")

    def __len__(self) -> int:
        return len(self.origin)

    @property
    def names(self) -> list[str]:
        """The names of the columns, in file order."""
        width = 0 if self.features is None else self.features.shape[1]
        return [*self.columns, *(f"f{i}" for i in range(self.first, width))]

    def __contains__(self, name: object) -> bool:
        index = self._feature(name) if isinstance(name, str) else None
        if index is not None and self.features is not None:
            return self.first <= index < int(self.features.shape[1])
        return name in self.columns

    @property
    def source(self) -> str:
        """The file of the table, or the first of several."""
        first, *more = dict.fromkeys(source.name for source in self.sources)  # a file read in chunks has several
        return f"{first} and {len(more)} more" if more else first

    def require(self, name: str, path: str) -> None:
        """Raises `DataError` unless there is such a column, which the config names at `path`."""
        if name not in self:
            hint = did_you_mean(name, self.names)
            raise DataError(f"{self.source}: no column {name!r} ({path}).{hint} Columns: {self._name_list()}.")

    def locate(self, row: int) -> str:
        """`"FILE, line L"` of a row."""
        index = int(self.origin[row])
        for source in self.sources:
            if index < source.rows:
                return f"{source.name}, {source.unit} {source.line(index)}"
            index -= source.rows
        raise IndexError(row)

    def numeric(self, name: str, *, missing: bool = True) -> Array:
        """A column as float64 [rows]; a missing cell is NaN, and the texts true and false are 1 and 0.

        Raises:
            DataError: no such column; a cell that is not a finite number; a missing cell where `missing` is False.
        """
        index = self._feature(name)
        if index is not None:
            return self._dense([index])[:, 0].astype(np.float64)
        return self._values(name, numbers, missing)

    def times(self, name: str, *, missing: bool = True) -> Array:
        """A column as float64 seconds since 1970 [rows]; a missing cell is NaN.

        Dates and timestamps, ISO 8601 texts, UTC where they name no zone, and numbers, which stay as they are.

        Raises:
            DataError: no such column; a cell that is neither a number nor a date; a missing cell where `missing` is
                False.
        """
        if self._feature(name) is not None:
            return self.numeric(name)
        return self._values(name, times, missing)

    def matrix(self, names: Sequence[str]) -> Array:
        """Columns as a new float32 array [rows, names]; a missing cell is NaN.

        Raises:
            DataError: as `numeric`, and for a number beyond float32.
        """
        indices = [self._feature(name) for name in names]
        if None not in indices:
            return self._dense([index for index in indices if index is not None])
        matrix = np.empty((len(self), len(names)), np.float32)
        for i, name in enumerate(names):
            with np.errstate(over="ignore"):
                matrix[:, i] = self.numeric(name)
            wrong = np.isinf(matrix[:, i])
            if wrong.any():
                self._refuse(name, int(wrong.argmax()), "{} is beyond float32")
        return matrix

    def strings(self, name: str, *, missing: bool = True) -> Array:
        """A column as `str` objects [rows]; a missing cell is "", and a number keeps the text it had in the file.

        Raises:
            DataError: no such column; bytes that are no UTF-8; a missing cell where `missing` is False.
        """
        index = self._feature(name)
        column = self._column(name) if index is None else pa.array(self._dense([index])[:, 0])
        if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
            self._check_utf8(name, column)
        text: Array = pc.cast(column, pa.string()).fill_null("").to_numpy(zero_copy_only=False)
        if not missing:
            absent = text == ""
            if absent.any():
                self._refuse(name, int(absent.argmax()), "the cell is empty, and a value is needed here")
        return text

    def take(self, rows: Array | Sequence[int]) -> Table:
        """The rows of these indices, in this order."""
        index = np.arange(len(self))[np.asarray(rows, dtype=None if len(rows) else int)]
        columns = {name: cells.take(pa.array(index)) for name, cells in self.columns.items()}
        features = None if self.features is None else self.features[index]
        return Table(columns, self.sources, features, self.first, self.origin[index])

    def slice(self, start: int, stop: int) -> Table:
        """The rows from `start` up to `stop`, without a copy of their cells."""
        part = copy(self)
        part.columns = {name: cells.slice(start, stop - start) for name, cells in self.columns.items()}
        part.features = None if self.features is None else self.features[start:stop]
        part.origin = self.origin[start:stop]
        return part

    def widened(self, first: int, width: int) -> Table:
        """The table with the svmlight features from index `first` up to `width`, at least its own; new ones are 0."""
        if self.features is None or (self.first, self.features.shape[1]) == (first, width):
            return self
        features = np.zeros((len(self), width), np.float32)
        features[:, : self.features.shape[1]] = self.features
        return Table(self.columns, self.sources, features, first, self.origin)

    @property
    def nbytes(self) -> int:
        """The memory that the cells take."""
        cells = sum(cells.nbytes for cells in self.columns.values())
        return int(cells + self.origin.nbytes + (0 if self.features is None else self.features.nbytes))

    @classmethod
    def concat(cls, tables: Sequence[Table]) -> Table:
        """The rows of all tables, one after another; svmlight features that a table lacks are 0 there.

        Chunks of one file may lack columns of others; the cells are missing there.

        Raises:
            DataError: no tables, or tables with different columns.
        """
        if not tables:
            raise DataError("There is no table to read: the list of files is empty.")
        if len(tables) == 1:
            return tables[0]
        sources = [source for table in tables for source in table.sources]
        starts = np.cumsum([0, *(sum(source.rows for source in table.sources) for table in tables)])
        origin = np.concatenate([table.origin + start for table, start in zip(tables, starts, strict=False)])
        dense = [table.features for table in tables if table.features is not None]
        names = _shared_columns(tables, optional=len(dense) == len(tables))
        columns = {name: _stack(name, tables) for name in names}
        if not dense:
            return cls(columns, sources, origin=origin)
        features = np.zeros((len(origin), max(block.shape[1] for block in dense)), np.float32)
        start = 0
        for block in dense:
            features[start : start + len(block), : block.shape[1]] = block
            start += len(block)
        return cls(columns, sources, features, min(table.first for table in tables), origin)

    def to_arrow(self) -> Any:
        """The columns as a `pyarrow.Table`, svmlight features among them."""
        cells = dict(self.columns)
        if self.features is not None:
            cells |= {f"f{i}": pa.array(self.features[:, i]) for i in range(self.first, self.features.shape[1])}
        return pa.table(cells)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Writes the table as CSV, atomically."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda part: pacsv.write_csv(self.to_arrow(), part))

    def _column(self, name: str) -> Any:
        if name in self.columns:
            return self.columns[name]
        hint = did_you_mean(name, self.names)
        raise DataError(f"{self.source} has no column {name!r}.{hint} It has: {self._name_list()}.")

    def _values(self, name: str, parse: Callable[[Any], Array], missing: bool) -> Array:
        """The cells as finite numbers, a missing one as NaN."""
        column = self._column(name)
        try:
            values = parse(column)
        except CellError as error:
            if error.row is None:
                raise DataError(f"{self.source}, column {name!r}: {error.reason}") from None
            self._refuse(name, error.row, error.reason)
        absent = np.isnan(values)
        if absent.any():
            absent = pc.is_null(without_blanks(column)).to_numpy()
        wrong = ~(np.isfinite(values) | absent)
        if wrong.any():
            advice = "; leave the cell empty for a missing value" if missing else ""
            self._refuse(name, int(wrong.argmax()), "{} is not finite" + advice)
        if not missing and absent.any():
            self._refuse(name, int(absent.argmax()), "the cell is empty, and a value is needed here")
        return values

    def _name_list(self) -> str:
        """The first column names, for messages."""
        names = self.names
        more = f" and {len(names) - _SHOWN_COLUMNS} more" if len(names) > _SHOWN_COLUMNS else ""
        return ", ".join(names[:_SHOWN_COLUMNS]) + more

    def _feature(self, name: str) -> int | None:
        """The index of an svmlight feature, present in the file or not; None for any other name."""
        match = _FEATURE.fullmatch(name)
        if self.features is None or match is None or name in self.columns:
            return None
        return int(match[1])

    def _dense(self, indices: list[int]) -> Array:
        if self.features is None:  # not reached: `_feature` returns None then
            raise DataError(f"{self.source} has no svmlight features.")
        width = self.features.shape[1]
        start = indices[0] if indices else 0
        if indices == list(range(start, start + len(indices))) and start + len(indices) <= width:
            return self.features[:, start : start + len(indices)].copy()  # many times faster than an index array
        matrix = np.zeros((len(self), len(indices)), np.float32)
        for i, index in enumerate(indices):
            if index < width:
                matrix[:, i] = self.features[:, index]
        return matrix

    def _check_utf8(self, name: str, column: Any) -> None:
        """Raises `DataError` for the first cell of bytes that is no text."""
        for row, cell in enumerate(column.to_pylist()):
            try:
                (cell or b"").decode()
            except UnicodeDecodeError:
                self._refuse(name, row, "{} is not valid UTF-8")

    def _refuse(self, name: str, row: int, reason: str) -> NoReturn:
        cell = self.columns[name][row].as_py()
        text = repr(cell if len(str(cell)) <= 60 else f"{str(cell)[:60]}...")
        raise DataError(f"{self.locate(row)}, column {name!r}: {reason.format(text)}")


def places(offsets: Array) -> Array:
    """The place of each row in its query, from 1, [rows]; query q holds the rows offsets[q] to offsets[q + 1]."""
    rows: Array = np.arange(offsets[-1]) - np.repeat(offsets[:-1], np.diff(offsets)) + 1
    return rows


def group_by_query(ids: Array | Sequence[Any]) -> tuple[Array, Array]:
    """Rows by query: `order` [rows] are row indices, and query q has `order[offsets[q]:offsets[q + 1]]`.

    Queries come in the order of their first row, and the rows of a query in file order; they need not be adjacent.
    """
    # hashing numbers the ids by first appearance, without a sort
    codes = pa.array(ids).dictionary_encode(null_encoding="encode").indices.to_numpy()
    offsets = np.concatenate([[0], np.cumsum(np.bincount(codes))]).astype(np.int64)
    return np.argsort(codes, kind="stable"), offsets


def ranks_in_queries(scores: Array, ids: Array | Sequence[Any]) -> Array:
    """The rank of each row in its query by descending score, from 1, [rows]; equal scores keep their order."""
    order, offsets = group_by_query(ids)
    query = np.empty(len(order), int)
    query[order] = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    best_first = np.lexsort((-scores, query))
    ranks = np.empty(len(order), int)
    ranks[best_first] = np.arange(len(order)) - offsets[query[best_first]] + 1
    return ranks


def _stack(name: str, tables: Sequence[Table]) -> Any:
    """The cells of a column of all tables; cells of several types become text, and lists of numbers stay lists."""
    parts = [table.columns.get(name, pa.chunked_array([pa.nulls(len(table))])) for table in tables]
    kind = parts[0].type
    for i, part in enumerate(parts[1:], 1):
        if part.type == kind:
            continue
        try:
            schemas = [pa.schema([(name, one)]) for one in (kind, part.type)]
            unlike_text = any(pa.types.is_nested(one) or pa.types.is_null(one) for one in (kind, part.type))
            kind = pa.unify_schemas(schemas, promote_options="permissive").field(0).type if unlike_text else pa.string()
        except pa.ArrowTypeError:
            reason = f"it holds {part.type}, and {kind} in {tables[0].source}"
            raise DataError(f"{tables[i].source}, column {name!r}: {reason}; these cannot be joined.") from None
    return pa.chunked_array([chunk for part in parts for chunk in pc.cast(part, kind).chunks], kind)


def _shared_columns(tables: Sequence[Table], *, optional: bool) -> list[str]:
    """The column names of all tables; `optional`: columns that a table lacks are left out, else they are an error."""
    first = tables[0]
    if optional:
        return [name for name in first.columns if all(name in table.columns for table in tables)]
    files: dict[str, dict[str, None]] = {}
    for table in tables:
        if (table.features is None) != (first.features is None):
            raise DataError(f"{first.source} and {table.source} have different formats and cannot be joined.")
        files.setdefault(table.source, {}).update(dict.fromkeys(table.columns))
    for source, names in files.items():
        for (one, ours), (other, theirs) in permutations([(first.source, files[first.source]), (source, names)]):
            for name in ours.keys() - theirs.keys():
                raise DataError(f"{other} has no column {name!r}, which {one} has.")
    return list(files[first.source])
