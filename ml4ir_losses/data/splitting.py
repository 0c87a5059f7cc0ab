"""The splits of a config: files of their own, or parts of the queries of one file."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import numpy as np

from ml4ir_losses.config.folds import Grouping, SplitConfig
from ml4ir_losses.config.input_base import ANY_LIST, ListColumns
from ml4ir_losses.config.schema import DataConfig
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.nested import unnest
from ml4ir_losses.data.readers import read_files
from ml4ir_losses.data.table import Table, group_by_query


def read_splits(
    data: DataConfig, query_id: str, splits: Iterable[str] | None = None, lists: ListColumns = ANY_LIST
) -> dict[str, Table]:
    """The table of each split of a config, one row per document.

    Args:
        data: the data section of a config.
        query_id: the column of the query ids, by which `data.path` is split.
        splits: names of splits that are given; None: all.
        lists: what lists in the cells of columns are.

    Raises:
        ConfigError, DataError: for data that cannot be read or split.
    """
    names = data.splits if splits is None else list(splits)
    tables = {
        source: unnest(read_files(data.paths(source), data.format, data.options), lists=lists)
        for source in (names if data.path is None else ["train"])
    }
    return tables if data.split is None else split_table(tables["train"], query_id, data.split, names)


def split_table(table: Table, query_id: str, split: SplitConfig, names: Iterable[str]) -> dict[str, Table]:
    """The rows of the splits of a table, in its order."""
    table.require(query_id, "features.query_id")
    ids = table.strings(query_id, missing=False)
    order, offsets = group_by_query(ids)
    values = None if split.by == "query" else query_values(table, split, order, offsets, "data.split")
    try:
        parts = parts_of_queries(ids[order[offsets[:-1]]], values, split)
    except DataError as error:
        raise DataError(f"{table.source}: {error}") from None
    part = np.empty(len(order), object)
    part[order] = np.repeat(parts, np.diff(offsets))
    return {name: table.take(np.flatnonzero(part == name)) for name in names}


def split_chunks(chunks: Iterable[Table], query_id: str, split: SplitConfig) -> dict[str, str]:
    """The split of each query of rows that come in chunks, by its id; as `split_table` splits them."""
    values: dict[str, Any] = {}
    source = ""
    for chunk in chunks:
        chunk.require(query_id, "features.query_id")
        source = source or chunk.source
        ids = chunk.strings(query_id, missing=False)
        order, offsets = group_by_query(ids)
        queries = ids[order[offsets[:-1]]]
        found = queries if split.by == "query" else query_values(chunk, split, order, offsets, "data.split")
        for place, (query, value) in enumerate(zip(queries, found, strict=True)):
            known = values.setdefault(query, value)
            if split.by == "time":
                values[query] = max(known, value)
            elif known != value:
                raise _differs(chunk, int(order[offsets[place]]), split.column or "", value, known, "data.split")
    ids = np.array([*values], object)
    given = None if split.by == "query" else np.array([*values.values()], None if split.by == "time" else object)
    try:
        return dict(zip(ids, parts_of_queries(ids, given, split), strict=True))
    except DataError as error:
        raise DataError(f"{source}: {error}") from None


def parts_of_queries(ids: Array, values: Array | None, split: SplitConfig) -> Array:
    """The split of each query, [Q]: `train`, `validation` or `test`, and "" beyond the shares.

    Queries are sorted by the hash of the seed and the id or value, or by time, and cut at the shares. The order of the
    queries does not matter, and queries with the same value are in one split.

    Args:
        ids: query ids, [Q].
        values: the value of each query with `by: column`, its time with `by: time`, [Q]; else None.
        split: the shares.

    Raises:
        DataError: for a split without queries.
    """
    groups = ids if values is None else values
    before = queries_before(groups if split.by == "time" else _hashes(groups, split.seed))
    shares = split.shares
    ends = np.rint(np.cumsum(list(shares.values())) * len(ids))
    parts: Array = np.array([*shares, ""], object)[np.searchsorted(ends, before, "right")]
    for name, share in shares.items():
        if share and name not in parts:
            what = "" if split.column is None else f" with {len(set(groups))} different values of {split.column!r}"
            raise DataError(f"data.split.{name}: a share of {share:g} of {len(ids)} queries{what} holds none of them.")
    return parts


def queries_before(keys: Array) -> Array:
    """The number of queries with a lower key than each query, [Q]."""
    before: Array = np.searchsorted(np.sort(keys), keys)
    return before


def query_values(table: Table, grouping: Grouping, order: Array, offsets: Array, path: str) -> Array:
    """The value of a grouping's column for each query, [Q], or with `by: time` the time of its last row.

    Args:
        table: the rows.
        grouping: names the column.
        order, offsets: the rows by query, see `group_by_query`.
        path: the section of the grouping, for messages.

    Raises:
        DataError: for a missing column or cell, a value that differs within a query, and for what is no time.
    """
    column = grouping.column or ""
    table.require(column, f"{path}.column")
    if grouping.by == "time":
        try:
            times = table.times(column, missing=False)
        except DataError as error:
            raise DataError(f"{error} ({path}.column)") from None
        return np.maximum.reduceat(times[order], offsets[:-1])
    values = table.strings(column, missing=False)[order]
    first: Array = values[offsets[:-1]]
    other = np.flatnonzero(values != np.repeat(first, np.diff(offsets)))
    if len(other):
        row = int(other[0])
        expected = first[int(np.searchsorted(offsets, row, "right")) - 1]
        raise _differs(table, int(order[row]), column, values[row], expected, path)
    return first


def _differs(table: Table, row: int, column: str, value: Any, expected: Any, path: str) -> DataError:
    return DataError(
        f"{table.locate(row)}, column {column!r}: {value!r} differs from {expected!r} in the first row of its query, "
        f"and the rows of a query stay together ({path}.column)."
    )


def _hashes(texts: Array, seed: int) -> Array:
    """A number for each text, the same on every machine."""
    key = seed.to_bytes(8, "little")
    known = {text: blake2b(text.encode(), digest_size=8, key=key).digest() for text in dict.fromkeys(texts)}
    return np.frombuffer(b"".join(known[text] for text in texts), "<u8")
