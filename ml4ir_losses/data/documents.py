"""Chunks with a row per document, from files that may hold a query per row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.data.nested import QUERY, has_lists, unnest
from ml4ir_losses.data.roles import named
from ml4ir_losses.data.table import Table

_OF_DOCUMENTS = ("label", "document_id", "position", "weight")  # the roles whose cells are lists in nested rows


def document_rows(chunks: Iterable[Table], roles: Mapping[str, str | None]) -> Iterator[Table]:
    """The chunks; if the label or another role of documents is a column of lists, a row per item of the lists.

    Lists as long as those of the role are flattened, others (embeddings, tags) stay. Queries without id are numbered.

    Args:
        chunks: tables of the same columns.
        roles: columns by role, where they are known.
    """
    keep: list[str] | None = None
    rows = 0
    for table in chunks:
        lists = [roles.get(role) or named(role, list(table.columns)) for role in _OF_DOCUMENTS]
        column = next((name for name in lists if name is not None and has_lists(table, name)), None)
        if column is None:
            yield table
            continue
        if keep is None:
            sizes = _sizes(table, column)
            keep = [name for name in table.columns if has_lists(table, name) and (_sizes(table, name) != sizes).any()]
        query = roles.get("query_id") or named("query_id", list(table.columns))
        numbers = {} if query else {QUERY: pa.array(np.arange(rows, rows + len(table)))}
        rows += len(table)
        flat = unnest(Table({**numbers, **table.columns}, table.sources, origin=table.origin), keep)
        if query not in (None, QUERY):
            del flat.columns[QUERY]  # a number beside the id
        yield flat


def _sizes(table: Table, name: str) -> Array:
    sizes: Array = pc.list_value_length(table.columns[name]).fill_null(0).to_numpy()
    return sizes
