"""Chunks with a row per document, from files that may hold a query per row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

import pyarrow.compute as pc

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.data.nested import QUERY, has_lists, unnest_chunks
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
    rest = iter(chunks)
    first = next(rest, None)
    if first is None:
        return
    names = list(first.columns)
    lists = [roles.get(role) or named(role, names) for role in _OF_DOCUMENTS]
    column = next((name for name in lists if name is not None and has_lists(first, name)), None)
    if column is None:
        yield from chain([first], rest)
        return
    sizes = _sizes(first, column)
    keep = [name for name in names if has_lists(first, name) and (_sizes(first, name) != sizes).any()]
    query = roles.get("query_id") or named("query_id", names)
    for table in unnest_chunks(chain([first], rest), keep=keep):
        if query not in (None, QUERY):
            del table.columns[QUERY]  # a number beside the id
        yield table


def _sizes(table: Table, name: str) -> Array:
    sizes: Array = pc.list_value_length(table.columns[name]).fill_null(0).to_numpy()
    return sizes
