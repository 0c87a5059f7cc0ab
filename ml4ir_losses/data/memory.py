"""Data in memory as a `Table`: dicts of columns, data frames, Arrow tables, lists of dicts, NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.nested import without_structs
from ml4ir_losses.data.table import Source, Table

_FORMS = (
    "a path, a glob or a list of them, a dict of columns, a list of dicts, a pandas, polars, PyArrow, DuckDB or "
    "Hugging Face table, or NumPy arrays "
    "{'features': [rows, F], 'label': [rows], 'qid': [rows]}"
)


def memory_table(data: Any, name: str = "data") -> Table:
    """The rows of data in memory; row numbers in messages count from 0.

    Args:
        data: one of
            a dict of columns, or a list of dicts;
            anything tabular of pandas, polars, PyArrow, DuckDB, Hugging Face `datasets`, or another library with
            Arrow's PyCapsule interface;
            NumPy arrays: `features` [rows, F], `label` [rows], and `qid` [rows] or `group` [Q], the number of rows of
            each query; or `features` [B, N, F], `label` [B, N] and a `mask` [B, N] of the documents. Feature i is the
            column `f<i>`, as in svmlight files; other arrays are columns.
        name: what messages call the data.

    Raises:
        DataError: for anything else, no rows, or columns of different lengths.
    """
    if isinstance(data, Table):
        return data
    if isinstance(data, Mapping) and "features" in data and _dimensions(data["features"]) in (2, 3):
        return _from_arrays(data, name)
    columns = _columns(data, name)
    cells = {str(column): _cells(values, name, str(column)) for column, values in columns}
    if len(cells) < len(columns):
        names = [str(column) for column, _ in columns]
        raise DataError(f"{name}: the column {max(names, key=names.count)!r} occurs twice.")
    sizes = {column: len(values) for column, values in cells.items()}
    first, rows = next(iter(sizes.items()), ("", 0))
    for column, size in sizes.items():
        if size != rows:
            raise DataError(f"{name}: column {column!r} has {size} cells, column {first!r} has {rows}.")
    if not rows:
        raise DataError(f"{name} has no rows.")
    return Table(without_structs(cells), [_source(name, rows)])


def _source(name: str, rows: int) -> Source:
    return Source(name, rows, lambda row: row, unit="row")


def _columns(data: Any, name: str) -> list[tuple[Any, Any]]:
    """Names and values of the columns."""
    if isinstance(data, Mapping):
        return list(data.items())
    if is_pandas(data):
        return [(column, data.iloc[:, i]) for i, column in enumerate(data.columns)]
    if hasattr(data, "with_format") and hasattr(data, "column_names"):  # Hugging Face, with its selection of rows
        data = data.with_format("arrow")[:]
    elif isinstance(data, Sequence) and data and all(isinstance(row, Mapping) for row in data):
        names = dict.fromkeys(column for row in data for column in row)
        return [(column, [row.get(column) for row in data]) for column in names]
    try:
        table = data if isinstance(data, pa.Table) else pa.table(data)
    except (TypeError, ValueError, pa.ArrowException):
        kind = f"{type(data).__module__}.{type(data).__qualname__}".removeprefix("builtins.")
        raise DataError(f"{name}: is not data that can be read. Give {_FORMS}. Received: {kind}.") from None
    return list(zip(table.column_names, table.columns, strict=True))


def is_pandas(data: Any) -> bool:
    """True for a pandas `DataFrame`."""
    return type(data).__module__.partition(".")[0] == "pandas" and hasattr(data, "iloc") and hasattr(data, "columns")


def _cells(values: Any, name: str, column: str) -> Any:
    """The cells of a column as an Arrow array; `name` and `column` are for messages."""
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values
    if hasattr(values, "__arrow_c_stream__"):  # a column of polars or pandas
        return pa.chunked_array(values)
    if _dimensions(values) > 1:
        values = list(np.asarray(values))
    if isinstance(values, (str, bytes, Mapping)) or not hasattr(values, "__len__"):
        raise DataError(f"{name}, column {column!r}: needs a list or an array of cells. Received: {values!r:.60}.")
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError):
        pass
    # Cells of several types become text, as a file would hold them; so do the items of lists.
    cells: list[Any] = []
    nested = any(isinstance(value, (list, tuple)) for value in values)
    for row, value in enumerate(values):
        try:
            cells.append(_list_of_texts(value) if nested else _text(value))
        except TypeError as error:
            beside = "lists" if nested and not isinstance(value, (list, tuple)) else "cells of another type"
            raise DataError(f"{name}, row {row}, column {column!r}: holds {error} beside {beside}.") from None
    return pa.array(cells, pa.list_(pa.string()) if nested else pa.string())


def _list_of_texts(value: Any) -> list[str | None] | None:
    """The items of a list as text; `TypeError` with what it is for anything else but None."""
    if value is not None and not isinstance(value, (list, tuple)):
        raise TypeError(f"{value!r:.60}")
    return None if value is None else [_text(item) for item in value]


def _text(value: Any) -> str | None:
    """A string, number or boolean as text; `TypeError` with its type for anything else but a missing value."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return None
    if not isinstance(value, (str, bool, int, float, np.generic)):
        raise TypeError(f"a {type(value).__qualname__}")
    return str(value)


def _from_arrays(data: Mapping[str, Any], name: str) -> Table:
    """The rows of NumPy arrays; lists [B, N] become rows."""
    arrays = {"label" if key == "labels" else key: value for key, value in data.items()}
    features, mask, group = arrays.pop("features"), arrays.pop("mask", None), arrays.pop("group", None)
    features = np.asarray(features.toarray() if hasattr(features, "toarray") else features)
    if features.ndim == 3:
        if group is not None:
            raise DataError(f"{name}, 'group': belongs to features [rows, F]. Received: {list(features.shape)}.")
        lists = features.shape[:2]
        mask = np.ones(lists, bool) if mask is None else np.asarray(mask).astype(bool)
        _check_shape(mask, lists, f"{name}, 'mask'")
        arrays = {"qid": np.arange(lists[0])} | arrays
        arrays = {key: _flat(np.asarray(value), mask, f"{name}, {key!r}") for key, value in arrays.items()}
        features = features[mask]
    elif mask is not None:
        raise DataError(f"{name}, 'mask': belongs to features [B, N, F]. Received: features {list(features.shape)}.")
    elif group is not None:
        arrays["qid"] = query_numbers(group, len(features), name, "qid" in arrays)
    if not len(features):
        raise DataError(f"{name} has no rows.")
    columns = {key: _cells(value, name, key) for key, value in arrays.items()}
    for key, cells in columns.items():
        if len(cells) != len(features):
            raise DataError(f"{name}: {key!r} has {len(cells)} cells, 'features' has {len(features)} rows.")
    return Table(columns, [_source(name, len(features))], _float32(features, name), first=0)


def _float32(features: Array, name: str) -> Array:
    """The features as float32; NaN is a missing value."""
    try:
        with np.errstate(over="ignore"):
            dense = features.astype("float32")
    except (TypeError, ValueError):
        raise DataError(f"{name}: 'features' must be numbers. Received: an array of {features.dtype}.") from None
    infinite = np.isinf(dense)
    if infinite.any():
        row, column = np.unravel_index(int(infinite.argmax()), dense.shape)
        value = features[row, column]
        reason = "is beyond float32" if np.isfinite(value) else "is not finite; use NaN for a missing value"
        raise DataError(f"{name}, row {row}, feature {column}: {value} {reason}")
    return dense


def query_numbers(group: Any, rows: int, name: str, has_ids: bool) -> Array:
    """The query of each row, from the number of rows of each query.

    Raises:
        DataError: for numbers that do not add up to `rows`, or beside ids of the queries.
    """
    sizes = np.asarray(group)
    if has_ids:
        raise DataError(f"{name}: give 'qid' or 'group', not both.")
    if sizes.ndim != 1 or sizes.dtype.kind not in "iu" or (sizes < 1).any() or sizes.sum() != rows:
        shown = f"they add up to {sizes.sum()}" if sizes.dtype.kind in "iu" else f"an array of {sizes.dtype}"
        raise DataError(
            f"{name}, 'group': the numbers of rows of the queries must add up to {rows}. Received: {shown}."
        )
    return np.repeat(np.arange(len(sizes)), sizes)


def _flat(values: Array, mask: Array, where: str) -> Array:
    """Values [B, N], or [B] repeated, of the documents of the mask."""
    if values.ndim == 1:
        values = np.repeat(values[:, None], mask.shape[1], axis=1)
    _check_shape(values, mask.shape, where)
    flat: Array = values[mask]
    return flat


def _check_shape(values: Array, shape: tuple[int, ...], where: str) -> None:
    if values.shape != tuple(shape):
        raise DataError(f"{where}: needs the shape {list(shape)} of the lists. Received: {list(values.shape)}.")


def _dimensions(values: Any) -> int:
    return len(getattr(values, "shape", ()))
