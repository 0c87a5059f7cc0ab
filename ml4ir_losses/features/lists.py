"""Columns with several values per cell: lists, or texts that are split."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.nested import has_lists
from ml4ir_losses.data.table import Table


class Items(NamedTuple):
    """The values of all cells, one after another: `values` an Arrow array, `row` and `place` in the cell, [items]."""

    values: Any
    row: Array
    place: Array


def list_items(table: Table, column: str, separator: str | None = None) -> Items:
    """The values of a column of lists, or of texts split at `separator`; a missing cell has none.

    Raises:
        DataError: for a column of single values without a separator.
    """
    cells = _lists(table, column, separator)
    sizes = pc.list_value_length(cells).fill_null(0).to_numpy()
    values = pc.list_flatten(cells)
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    row = np.repeat(np.arange(len(table)), sizes)
    starts = np.cumsum(sizes) - sizes
    return Items(values, row, np.arange(len(row)) - np.repeat(starts, sizes))


def list_texts(table: Table, column: str, separator: str | None = None) -> Items:
    """The values as texts, without spaces around them and without empty ones.

    Raises:
        DataError: for a column of single values without a separator.
    """
    values, row, _ = list_items(table, column, separator)
    texts = pc.ascii_trim_whitespace(pc.cast(values, pa.large_string()).fill_null(""))
    kept = pc.not_equal(texts, "")
    row = row[kept.to_numpy(zero_copy_only=False)]
    starts = np.searchsorted(row, row)  # rows ascend
    return Items(texts.filter(kept), row, np.arange(len(row)) - starts)


def check_single(table: Table, column: str) -> None:
    """Raises `DataError` for a column of lists."""
    if has_lists(table, column):
        raise DataError(
            f"{table.source}, column {column!r}: its cells are lists; give the input pooling: mean, or sum or max."
        )


def _lists(table: Table, column: str, separator: str | None) -> Any:
    if has_lists(table, column):
        return table.columns[column]
    if separator is not None:
        texts = pa.array(table.strings(column), pa.large_string())
        blank = pc.equal(pc.ascii_trim_whitespace(texts), "")
        return pc.split_pattern(pc.if_else(blank, pa.scalar(None, pa.large_string()), texts), separator)
    if pa.types.is_null(table.columns[column].type if column in table.columns else pa.float32()):
        return pa.nulls(len(table), pa.list_(pa.string()))
    raise DataError(
        f"{table.source}, column {column!r}: its cells are single values, not lists; give the input a separator "
        "at which they are split."
    )
