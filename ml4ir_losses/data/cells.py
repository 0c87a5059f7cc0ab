"""Cells of Arrow columns as numbers and as times."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml4ir_losses.core.arrays import Array

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
_DATE = r"^(\d{4}-\d{2}-\d{2})$"
_WITHOUT_ZONE = r"^(\d{4}-\d{2}-\d{2}[T ][\d:.]+)$"
_NANOSECONDS = r"(\.\d{6})\d+"
_FAILED = (pa.ArrowInvalid, pa.ArrowNotImplementedError)


class CellError(ValueError):
    """A cell that cannot be read.

    Args:
        reason: what is wrong; `{}` stands for the cell.
        row: its row; None: no cell of the column can be read.
    """

    def __init__(self, reason: str, row: int | None = None) -> None:
        super().__init__(reason)
        self.reason, self.row = reason, row


def chunked(cells: Any) -> Any:
    """The cells, an Arrow or NumPy array or a list, as a chunked Arrow array; NaN is missing."""
    if isinstance(cells, (pa.Array, pa.ChunkedArray)):
        column = _plain(cells if isinstance(cells, pa.ChunkedArray) else pa.chunked_array([cells]))
        if not pa.types.is_floating(column.type):
            return column
        absent = pc.is_nan(column)
        return pc.if_else(absent, None, column) if pc.any(absent).as_py() else column
    return pa.chunked_array([pa.array(cells, from_pandas=True)])  # from_pandas: NaN is missing


def is_text(kind: Any) -> bool:
    """True for an Arrow type of texts."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_list(kind: Any) -> bool:
    """True for an Arrow type of lists."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def without_blanks(column: Any) -> Any:
    """The column; texts without the space around them, and null where nothing is left."""
    if not is_text(column.type):
        return column
    column = pc.utf8_trim_whitespace(column)
    blank = pc.equal(column, "").fill_null(True)
    return pc.if_else(blank, pa.scalar(None, column.type), column)


def numbers(column: Any) -> Array:
    """The cells as float64, null and blank texts as NaN; true and false are 1 and 0.

    Raises:
        CellError: for a cell that is not a number.
    """
    if is_text(column.type):
        try:
            plain: Array = pc.cast(column, pa.float64()).to_numpy()
        except _FAILED:
            column = without_blanks(column)  # which takes as long as parsing
        else:
            return plain
    for kind in (pa.float64(), pa.bool_()) if is_text(column.type) else (pa.float64(),):
        try:
            # not safe: int64 beyond 2^53 is rounded
            values: Array = pc.cast(pc.cast(column, kind, safe=False), pa.float64(), safe=False).to_numpy()
        except _FAILED:
            continue
        return values
    if not is_text(column.type):
        raise CellError(f"it holds {column.type}, not numbers.")
    return _spelled_numbers(column)


def times(column: Any) -> Array:
    """The cells as float64 seconds since 1970, null and blank texts as NaN.

    Dates and timestamps, ISO 8601 texts, UTC where they name no zone, and numbers, which stay as they are.

    Raises:
        CellError: for a cell that is neither a number nor a date.
    """
    kind = column.type
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return _seconds(pc.cast(column, pa.timestamp("us"), safe=False))
    if not is_text(kind):
        return numbers(column)
    column = without_blanks(column)
    for parse in (lambda cells: pc.cast(cells, pa.float64()).to_numpy(), _without_zone, _with_zone):
        try:
            values: Array = parse(column)
        except _FAILED:
            continue
        return values
    reason = "{} is neither a number nor a date such as 2026-01-31 or 2026-01-31T12:00:00"
    raise CellError(reason, _first_failure(column, _with_zone))


def _without_zone(column: Any) -> Array:
    """Texts without a time zone as seconds."""
    return _seconds(pc.cast(column, pa.timestamp("us")))


def _with_zone(column: Any) -> Array:
    """Texts, some of which may name a time zone, as seconds."""
    for pattern, replacement in ((_DATE, r"\1T00Z"), (_WITHOUT_ZONE, r"\1Z"), (_NANOSECONDS, r"\1")):
        column = pc.replace_substring_regex(column, pattern, replacement)
    return _seconds(pc.cast(column, pa.timestamp("us", "UTC")))


def _seconds(column: Any) -> Array:
    seconds: Array = pc.divide(pc.cast(pc.cast(column, pa.int64()), pa.float64(), safe=False), 1e6).to_numpy()
    return seconds


def _first_failure(column: Any, parse: Callable[[Any], Array]) -> int:
    """The first row at which parsing fails, by halving."""
    start, end = 0, len(column)
    while end - start > 1:
        middle = (start + end) // 2
        try:
            parse(column.slice(start, middle - start))
            start = middle
        except _FAILED:
            end = middle
    return start


def _spelled_numbers(column: Any) -> Array:
    """The numbers of texts that Arrow does not parse, "+1" for instance."""
    cells = column.to_pylist()
    for row, cell in enumerate(cells):
        if cell is not None and not (_NUMBER.fullmatch(cell) or _NOT_FINITE.fullmatch(cell)):
            raise CellError("{} is not a number", row)
    return np.array([np.nan if cell is None else float(cell) for cell in cells], np.float64)


def _plain(column: Any) -> Any:
    """Dictionaries, views and extension types as the values that they stand for."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(pc.cast(column, kind.storage_type))
    if pa.types.is_dictionary(kind):
        parts = [
            _plain(pa.chunked_array([chunk.dictionary])).combine_chunks().take(chunk.indices) for chunk in column.chunks
        ]
        return pa.chunked_array(parts) if parts else pc.cast(column, pa.large_string())
    return pc.cast(column, pa.large_string()) if pa.types.is_string_view(kind) else column
