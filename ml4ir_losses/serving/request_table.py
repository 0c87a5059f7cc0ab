"""The documents of a request as a table, whose plain numbers and texts are read without Arrow, which is as exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.cells import chunked
from ml4ir_losses.data.table import Source, Table

_NUMBERS = {float, type(None)}
_TEXTS = {str, type(None)}


class RequestTable(Table):
    """Rows of a request.

    Args:
        names: the columns.
        rows: a dict of cells for each row; a missing one is null.
        shared: for each row, cells of those columns that it lacks.
        place: where a row stands in the request, such as `queries[0].documents[2]`.
    """

    def __init__(
        self,
        names: Sequence[str],
        rows: Sequence[Mapping[str, Any]],
        shared: Sequence[Mapping[str, Any]],
        place: Callable[[int], str],
    ) -> None:
        self.cells = _Cells(names, rows, shared)
        self.columns: Any = self.cells
        self.sources = (Source("the request", len(rows), place),)
        self.features, self.first, self.origin = None, 1, np.arange(len(rows))
        self.place = place

    def locate(self, row: int) -> str:
        return self.place(row)

    def matrix(self, names: Sequence[str]) -> Array:
        columns = [self.cells.of(name) for name in names]
        if not _NUMBERS.issuperset(map(type, chain.from_iterable(columns))):
            return super().matrix(names)
        return np.array(columns, np.float64).astype(np.float32).T

    def strings(self, name: str, *, missing: bool = True) -> Array:
        cells = self.cells.of(name)
        if not missing or not _TEXTS.issuperset(map(type, cells)):
            return super().strings(name, missing=missing)
        return np.array([cell or "" for cell in cells], object)


class _Cells(Mapping[str, Any]):
    """The columns of a table, made when they are read."""

    def __init__(
        self, names: Sequence[str], rows: Sequence[Mapping[str, Any]], shared: Sequence[Mapping[str, Any]]
    ) -> None:
        self.names, self.rows, self.shared = names, rows, shared
        self.in_shared = set(chain.from_iterable(shared))

    def of(self, name: str) -> list[Any]:
        """The cells of a column."""
        if name not in self.in_shared:
            return [row.get(name) for row in self.rows]
        both = zip(self.rows, self.shared, strict=True)
        return [row[name] if name in row else shared.get(name) for row, shared in both]

    def __getitem__(self, name: str) -> Any:
        if name not in self.names:
            raise KeyError(name)
        try:
            return chunked(pa.array(self.of(name), from_pandas=True))
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            raise DataError(
                f"column {name!r}: its cells have several types; write all as one, for instance as texts."
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)
