"""Cross-validation: the rows of several splits, dealt out anew by query."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ml4ir_losses.config.folds import FoldsConfig
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.splitting import queries_before, query_values
from ml4ir_losses.data.table import Table, group_by_query


def folded_tables(
    tables: Mapping[str, Table], query_id: str, folds: FoldsConfig, with_test: bool = False
) -> list[dict[str, Table]]:
    """The tables `train` and `validation` of every fold, and `test` if asked for.

    The rows of a query stay together. An id that several splits share names several queries: their ids then start with
    the split's name, and they are in one fold. By query or column, fold k is evaluated by a model of the others; with a
    test part, fold k is that part and fold k + 1 (the first one after the last) the validation part. In time, what is
    evaluated is later than what is trained on, and the test part is later than the validation part.

    Args:
        tables: the rows to deal out, by split.
        query_id: the column of the query ids.
        folds: how many folds, and by what.
        with_test: whether a fold has a test part, too.

    Raises:
        DataError: for a missing column, or fewer queries (values, times) than the folds need.
    """
    pool = Table.concat(list(tables.values()))
    pool.require(query_id, "features.query_id")
    ids = pool.strings(query_id, missing=False)
    distinct = _with_distinct_ids(pool, query_id, ids, tables)
    order, offsets = group_by_query(distinct.strings(query_id))
    queries = len(offsets) - 1
    if queries < 2:
        raise DataError(f"{pool.source}: folds need at least 2 queries. Received: {queries}.")
    if folds.by == "time":
        parts = _parts_in_time(pool, folds, order, offsets, 1 + with_test)
        splits = [(parts <= k, parts == k + 1, parts == k + 2) for k in range(folds.k)]
    else:
        if with_test and folds.k < 3:
            raise DataError(
                f"data.folds.k: with a test part in every fold, at least 3 are needed. Received: {folds.k}."
            )
        groups = (
            ids[order[offsets[:-1]]]
            if folds.column is None
            else query_values(pool, folds, order, offsets, "data.folds")
        )
        parts = _random_parts(groups, folds, pool.source)
        later = [(k + with_test) % folds.k for k in range(folds.k)]
        splits = [((parts != k) & (parts != v), parts == v, parts == k) for k, v in enumerate(later)]
    query = np.empty(len(order), int)
    query[order] = np.repeat(np.arange(queries), np.diff(offsets))
    names = ("train", "validation", "test")[: 2 + with_test]
    return [
        {name: distinct.take(np.flatnonzero(chosen[query])) for name, chosen in zip(names, split, strict=False)}
        for split in splits
    ]


def _with_distinct_ids(pool: Table, query_id: str, ids: Array, tables: Mapping[str, Table]) -> Table:
    """The pool, whose query ids start with their split's name if two splits share one: ids restart in many files."""
    known = [set(table.strings(query_id)) for table in tables.values()]
    if len(set().union(*known)) == sum(map(len, known)):
        return pool
    split = np.repeat(np.array(list(tables), object), [len(table) for table in tables.values()])
    columns = {**pool.columns, query_id: split + "/" + ids}
    return Table(columns, pool.sources, pool.features, pool.first, pool.origin)


def _random_parts(groups: Array, folds: FoldsConfig, source: str) -> Array:
    """The fold of each query, [Q]; queries of one group are in one fold."""
    from sklearn.model_selection import GroupKFold

    known = len(set(groups))
    if known < folds.k:
        what = "queries" if folds.column is None else f"values of the column {folds.column!r}"
        raise DataError(f"{source}: {folds.k} folds need at least {folds.k} {what} (data.folds). There are {known}.")
    parts = np.empty(len(groups), int)
    dealer = GroupKFold(folds.k, shuffle=True, random_state=folds.seed)
    for k, (_, evaluated) in enumerate(dealer.split(groups, groups=groups)):
        parts[evaluated] = k
    return parts


def _parts_in_time(pool: Table, folds: FoldsConfig, order: Array, offsets: Array, evaluated: int) -> Array:
    """The part of each query, [Q]: consecutive parts of about equal size, the last rows of a query count as its time.

    scikit-learn's `TimeSeriesSplit` would put queries of one time, a day for instance, on both sides of a boundary.
    """
    parts = folds.k + evaluated
    times = query_values(pool, folds, order, offsets, "data.folds")
    part: Array = queries_before(times) * parts // len(times)
    filled = len(set(part))
    if filled < parts:
        raise DataError(
            f"{pool.source}: {folds.k} folds in time need {parts} consecutive parts (data.folds), but the {len(times)} "
            f"queries with their {len(set(times))} different values of {folds.column!r} fill {filled}."
        )
    return part
