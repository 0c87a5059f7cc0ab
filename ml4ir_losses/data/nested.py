"""Columns whose cells are lists: the documents of a query as rows, and vectors of numbers."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml4ir_losses.config.input_base import ANY_LIST, ListColumns
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.cells import is_list
from ml4ir_losses.data.table import Table

QUERY = "query_id"  # the column that numbers the rows of nested data, unless there is one of this name


def unnest(table: Table, keep: Sequence[str] = (), lists: ListColumns = ANY_LIST) -> Table:
    """The table with one row per item of its lists, such as the documents of a query; other cells are repeated.

    A column `query_id` numbers the rows of the nested table, unless there is a column of this name.

    Args:
        table: a table whose list columns have lists of equal lengths in each row.
        keep: list columns that stay as they are.
        lists: what the lists are. Those of values stay as they are; their lists of lists have an item each. Without a
            list of documents nothing changes; beside one, lists of other lengths that nothing reads become empty cells.

    Raises:
        DataError: for lists of different lengths in a row, or no items at all.
    """
    rows = _items(table, keep, lists, 0)
    if not len(rows):
        raise DataError(f"{table.source}: every list is empty.")
    return rows


def unnest_chunks(chunks: Iterable[Table], lists: ListColumns = ANY_LIST, keep: Sequence[str] = ()) -> Iterator[Table]:
    """The chunks with one row per item of their lists, as `unnest` gives them; those without items are left out."""
    first = 0
    for chunk in chunks:
        rows = _items(chunk, keep, lists, first)
        first += len(chunk)
        if len(rows):
            yield rows


def _items(table: Table, keep: Sequence[str], lists: ListColumns, first: int) -> Table:
    """One row per item; `first` is the number of the first row of the nested table."""
    listed = {name: c for name, c in table.columns.items() if is_list(c.type) and name not in keep}
    nested = {name: c for name, c in listed.items() if name not in lists.values or is_list(c.type.value_type)}
    read = [name for name in nested if _is_read(name, lists)]
    if not read or all(source.documents for source in table.sources):
        return table
    sizes = {name: pc.list_value_length(c).fill_null(0).to_numpy() for name, c in listed.items()}
    expected = read[0]
    for name in read:
        wrong = sizes[name] != sizes[expected]
        if wrong.any():
            row = int(np.argmax(wrong))
            raise DataError(
                f"{table.locate(row)}: {name!r} has {sizes[name][row]} items and {expected!r} has "
                f"{sizes[expected][row]}."
            )
    for name in listed.keys() - nested.keys():
        if np.array_equal(sizes[name], sizes[expected]) and (name in lists.texts or _is_blank(listed[name])):
            nested[name] = listed[name]  # a text of values for each document, or nothing for any of them
    parents = np.repeat(np.arange(len(table)), sizes[expected])
    columns = {QUERY: pa.array(parents + first)} if QUERY not in table else {}
    for name, cells in table.columns.items():
        if name not in nested:
            columns[name] = cells.take(pa.array(parents))
        elif np.array_equal(sizes[name], sizes[expected]):
            columns[name] = pc.list_flatten(cells)
        else:
            columns[name] = pa.nulls(len(parents), cells.type.value_type)
    features = None if table.features is None else table.features[parents]
    return Table(columns, table.sources, features, table.first, table.origin[parents])


def _is_blank(cells: Any) -> bool:
    """True for a column of lists without a value."""
    values = pc.list_flatten(cells)
    return bool(values.null_count == len(values))


def _is_read(name: str, lists: ListColumns) -> bool:
    """True for a column whose lists hold the documents of a query."""
    known = None if lists.documents is None else [*lists.documents, *lists.values]
    return known is None or name in known or any(fnmatch.fnmatchcase(name, glob) for glob in known)


def without_structs(columns: Mapping[str, Any]) -> dict[str, Any]:
    """The columns with those of objects replaced by a column per field, and those of lists of objects by lists.

    A field keeps its name; where a column has this name already, it is called `<column>.<field>`.

    Args:
        columns: Arrow arrays, chunked or not.
    """
    flat: dict[str, Any] = {}
    nested = False
    for name, cells in columns.items():
        objects = pc.list_flatten(cells) if is_list(cells.type) else cells
        if not pa.types.is_struct(objects.type):
            flat[name] = cells
            continue
        nested = True
        offsets = None
        if objects is not cells:
            sizes = pc.list_value_length(cells).fill_null(0).to_numpy(zero_copy_only=False)
            offsets = pa.array(np.concatenate([[0], np.cumsum(sizes)]), pa.int64())
        for field, values in zip(objects.type, objects.flatten(), strict=True):
            taken = field.name in flat or field.name in columns
            flat[f"{name}.{field.name}" if taken else field.name] = _lists(offsets, values)
    return without_structs(flat) if nested else flat


def _lists(offsets: Any, values: Any) -> Any:
    """The values between the offsets as lists; the values themselves without offsets."""
    if offsets is None:
        return values
    if isinstance(values, pa.ChunkedArray):
        values = pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], values.type)
    return pa.LargeListArray.from_arrays(offsets, values)


def has_lists(table: Table, name: str) -> bool:
    """True for a column of the table whose cells are lists."""
    return name in table.columns and is_list(table.columns[name].type)


def vectors(table: Table, name: str) -> Array:
    """A column of lists of numbers as float64 [rows, ...]; lists may be nested.

    Raises:
        DataError: for a missing or empty list, lists of different lengths, and cells that are not finite numbers.
    """
    cells, shape = table.columns[name], [len(table)]
    while is_list(cells.type):
        sizes = pc.list_value_length(cells).fill_null(0).to_numpy()
        wrong = (sizes != sizes[0]) | (sizes == 0)
        if wrong.any():
            at = int(wrong.argmax())
            row = at // (len(sizes) // len(table))
            expected = f"{sizes[0]} numbers as in the first" if sizes[0] else "numbers"
            raise DataError(f"{table.locate(row)}, column {name!r}: a list needs {expected}. Received: {sizes[at]}.")
        shape.append(int(sizes[0]))
        cells = pc.list_flatten(cells)
    try:
        values: Array = pc.cast(cells, pa.float64(), safe=False).to_numpy()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise DataError(f"{table.source}, column {name!r}: it holds lists of {cells.type}, not of numbers.") from None
    invalid = ~np.isfinite(values)
    if invalid.any():
        row = int(invalid.argmax()) // (len(values) // len(table))
        raise DataError(f"{table.locate(row)}, column {name!r}: a number is missing or not finite")
    return values.reshape(shape)
