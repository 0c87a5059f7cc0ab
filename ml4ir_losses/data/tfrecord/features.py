"""Values of features as Arrow columns."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.data.tfrecord import wire
from ml4ir_losses.data.tfrecord.lists import read_lists
from ml4ir_losses.data.tfrecord.spans import Buffer, RowError, Values, flat

_TYPES = {wire.FLOAT: pa.float32(), wire.INT64: pa.int64(), wire.BYTES: pa.string()}


@dataclass(frozen=True)
class FeatureType:
    """What the values of a feature are: their kind, and the type of the column."""

    kind: int
    cells: Any

    @property
    def is_list(self) -> bool:
        """True where a cell holds any number of values."""
        return bool(pa.types.is_list(self.cells))


class Columns:
    """Makes columns; a feature keeps the type that its first column has.

    Args:
        lists: features whose cells are lists, even where each has one value.
    """

    def __init__(self, lists: Collection[str] = ()) -> None:
        self.lists = frozenset(lists)
        self.types: dict[str, FeatureType] = {}

    def column(self, name: str, buffer: Buffer, values: Values) -> Any:
        """The column of a feature: numbers or text, lists of them where a row has several; null where it is missing.

        Raises:
            RowError: a row whose values have another type than those before, or are malformed.
        """
        kind = self._kind(name, values.kind)
        if not kind:
            known = self.types.get(name)
            return pa.nulls(len(values.kind), known.cells if known else pa.null())
        read = {wire.FLOAT: _floats, wire.INT64: _integers, wire.BYTES: _bytes}[kind]
        counts, cells = read(buffer, values)
        cells = self._as_text(name, counts, cells) if kind == wire.BYTES else cells
        if self._is_list(name, counts):
            offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
            mask = pa.array(values.kind == 0)
            column = pa.ListArray.from_arrays(offsets, cells, mask=mask)
        elif len(cells) == len(counts):
            column = pa.array(cells)
        else:
            column = pa.array(cells).take(pa.array(np.cumsum(counts) - 1, mask=counts == 0))
        self.types[name] = FeatureType(kind, column.type)
        return column

    def missing(self, name: str, rows: int) -> Any:
        """The column of a feature that no row of a chunk has."""
        return pa.nulls(rows, self.types[name].cells)

    def _kind(self, name: str, kinds: Array) -> int:
        """The kind of all values, 0 for none."""
        known = self.types.get(name)
        expected = known.kind if known else int(kinds[np.argmax(kinds > 0)]) if len(kinds) else 0
        wrong = (kinds != expected) & (kinds != 0)
        if wrong.any():
            row = int(wrong.argmax())
            names = wire.KIND_NAMES[int(kinds[row])], wire.KIND_NAMES[expected]
            raise RowError(row, f"feature {name!r} is {_with_article(names[0])}, and {_with_article(names[1])} before")
        return expected if known is None or (kinds != 0).any() else 0

    def _is_list(self, name: str, counts: Array) -> bool:
        known = self.types.get(name)
        several = counts > 1
        if known and not known.is_list and several.any():
            row = int(several.argmax())
            raise RowError(
                row,
                f"feature {name!r} has {counts[row]} values, and all rows before have one; "
                f"set data.options.lists to [{name}] for a column of lists",
            )
        return name in self.lists or bool(known and known.is_list) or bool(several.any())

    def _as_text(self, name: str, counts: Array, cells: Any) -> Any:
        """Text where all cells are valid UTF-8; else bytes, unless the column was text before."""
        known = self.types.get(name)
        kind = known.cells.value_type if known and known.is_list else known.cells if known else pa.string()
        if not pa.types.is_string(kind):
            return cells
        try:
            return cells.cast(pa.string())
        except pa.ArrowInvalid:
            if known is None:
                return cells
        for row, cell in zip(np.repeat(np.arange(len(counts)), counts), cells.to_pylist(), strict=True):
            try:
                cell.decode()
            except UnicodeDecodeError:
                raise RowError(int(row), f"feature {name!r} is not valid UTF-8: {cell[:40]!r}") from None
        return cells


def _floats(buffer: Buffer, values: Values) -> tuple[Array, Array]:
    """Numbers of values of each row, and the values of all rows."""
    if values.numbers is not None:
        given = values.kind > 0
        return given.astype(np.int64), values.numbers if given.all() else values.numbers[given]
    start, size = values.places.start, values.places.end - values.places.start
    _refuse(size % 4 != 0, wire.FLOAT)
    counts = size // 4
    return counts, buffer.floats[start if (counts == 1).all() else flat(start, counts, 4)]


def _integers(buffer: Buffer, values: Values) -> tuple[Array, Array]:
    start, size = values.places.start, values.places.end - values.places.start
    content = buffer.bytes[start if (size == 1).all() else flat(start, size)]
    is_last = content < 0x80
    if is_last.all():
        return size, content.astype(np.int64)
    rows = np.repeat(np.arange(len(size)), size)
    ends = np.flatnonzero(is_last)
    last_of_row = np.cumsum(size)[size > 0] - 1
    _refuse(np.isin(np.arange(len(size)), np.flatnonzero(size > 0)[~is_last[last_of_row]]), wire.INT64)
    begins = np.concatenate([[0], ends[:-1] + 1])
    place = np.arange(len(content)) - np.repeat(begins, ends - begins + 1)
    _refuse(np.isin(np.arange(len(size)), rows[place > 9]), wire.INT64)
    groups = (content & 0x7F).astype(np.uint64) << (7 * place).astype(np.uint64)
    counts = np.bincount(rows[ends], minlength=len(size))
    return counts, np.bitwise_or.reduceat(groups, begins).view(np.int64)


def _bytes(buffer: Buffer, values: Values) -> tuple[Array, Any]:
    found = read_lists(buffer, values.places)
    _refuse(found.odd, wire.BYTES)
    data = buffer.data
    cells = [data[a:b] for a, b in zip(found.items.start.tolist(), found.items.end.tolist(), strict=True)]
    return found.counts, pa.array(cells, pa.binary())


def _refuse(wrong: Array, kind: int) -> None:
    if wrong.any():
        raise RowError(int(wrong.argmax()), f"a {wire.KIND_NAMES[kind]} is damaged")


def _with_article(name: str) -> str:
    return f"an {name}" if name[0] == "i" else f"a {name}"
