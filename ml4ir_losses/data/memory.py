"""Data in memory as a `Table`: dicts of columns, data frames, Arrow tables, lists of dicts, NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
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
    cells = {str(column): _cells(values, f"{name}, column {str(column)!r}") for column, values in columns}
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
    return Table(cells, [_source(name, rows)])


def _source(name: str, rows: int) -> Source:
    return Source(name, rows, lambda row: row, unit="row")


def _columns(data: Any, name: str) -> list[tuple[Any, Any]]:
    """Names and values of the columns."""
    if isinstance(data, Mapping):
        return list(data.items())
    if _is_pandas(data):
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


def _is_pandas(data: Any) -> bool:
    return type(data).__module__.partition(".")[0] == "pandas" and hasattr(data, "iloc") and hasattr(data, "columns")


def _cells(values: Any, where: str) -> Any:
    """The cells of a column as an Arrow array."""
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values
    if hasattr(values, "__arrow_c_stream__"):  # a column of polars or pandas
        return pa.chunked_array(values)
    if _dimensions(values) > 1:
        values = list(np.asarray(values))
    if isinstance(values, (str, bytes, Mapping)) or not hasattr(values, "__len__"):
        raise DataError(f"{where}: needs a list or an array of cells. Received: {values!r:.60}.")
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError):
        cells = list(values)
        return _mixed_lists(cells, where) if isinstance(cells[0], (list, tuple)) else _mixed_cells(cells, where)


def _mixed_lists(values: list[Any], where: str) -> Any:
    """Lists whose items are of several types, the items as text."""
    for row, value in enumerate(values):
        if not isinstance(value, (list, tuple)):
            data, _, column = where.partition(", ")
            raise DataError(f"{data}, row {row}, {column}: holds {value!r:.60} beside lists.")
    offsets = np.cumsum([0, *map(len, values)])
    return pa.ListArray.from_arrays(offsets, _mixed_cells([item for value in values for item in value], where))


def _mixed_cells(values: list[Any], where: str) -> Any:
    """Cells of several types as text, as a file would hold them."""
    cells: list[str | None] = []
    for row, value in enumerate(values):
        if value is None or (isinstance(value, float) and np.isnan(value)):
            cells.append(None)
        elif isinstance(value, (str, bool, int, float, np.generic)):
            cells.append(str(value))
        else:
            data, _, column = where.partition(", ")
            kind = type(value).__qualname__
            raise DataError(f"{data}, row {row}, {column}: holds a {kind} beside cells of another type.")
    return pa.array(cells, pa.string())


def _from_arrays(data: Mapping[str, Any], name: str) -> Table:
    """The rows of NumPy arrays; lists [B, N] become rows."""
    features = data["features"]
    features = np.asarray(features.toarray() if hasattr(features, "toarray") else features)
    others = {
        {"labels": "label"}.get(key, key): value for key, value in data.items() if key not in ("features", "mask")
    }
    if features.ndim == 3:
        shape = features.shape[:2]
        mask = np.ones(shape, bool) if data.get("mask") is None else np.asarray(data["mask"]).astype(bool)
        _check_shape(mask, shape, f"{name}, 'mask'")
        others = {"qid": np.arange(shape[0])} | {
            key: _flat(np.asarray(value), mask, f"{name}, {key!r}") for key, value in others.items()
        }
        others["qid"] = _flat(np.asarray(others["qid"]), mask, name) if "qid" not in data else others["qid"]
        features = features[mask]
    elif data.get("mask") is not None:
        raise DataError(f"{name}, 'mask': belongs to features [B, N, F]. Received: features {list(features.shape)}.")
    if "group" in others:
        others["qid"] = query_numbers(others.pop("group"), len(features), name, "qid" in others)
    if not len(features):
        raise DataError(f"{name} has no rows.")
    columns = {key: _cells(value, f"{name}, column {key!r}") for key, value in others.items()}
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
