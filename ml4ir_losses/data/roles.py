"""The roles of columns, told by their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ml4ir_losses.core.errors import DataError, did_you_mean
from ml4ir_losses.data.writers.base import WriterRoles

NAMES = {
    "query_id": ("query_id", "qid", "queryid", "query-id", "groupid", "group_id", "srch_id", "search_id", "session_id"),
    "label": ("label", "relevance", "grade", "rating", "target", "labels", "rel"),
    "document_id": ("document_id", "doc_id", "docid", "docno", "doc-id", "corpus-id", "item_id", "product_id", "doc"),
    "weight": ("weight", "sample_weight", "document_weight"),
    "position": ("position", "shown_position", "shown_rank", "rank", "shown"),
}
"""The usual names of the columns of each role, the most telling first, in lower case."""


def named(role: str, columns: Sequence[str]) -> str | None:
    """The column whose name tells a role."""
    lower = {name.lower(): name for name in reversed(columns)}
    return next((lower[name] for name in NAMES[role] if name in lower), None)


def find_roles(
    columns: Sequence[str], given: Mapping[str, str | None], query_columns: Sequence[str] = ()
) -> WriterRoles:
    """The roles of the columns of a file: those given, others told by names.

    Raises:
        DataError: for a given column that there is not.
    """
    for role, name in [*given.items(), *(("query_columns", name) for name in query_columns)]:
        if name is not None and name not in columns:
            raise DataError(f"`{role}`: there is no column {name!r}.{did_you_mean(name, columns)}")
    taken = {name for name in given.values() if name is not None}
    others = [name for name in columns if name not in taken]
    roles = {role: given.get(role) or named(role, others) for role in NAMES}
    return WriterRoles(**roles, query_columns=tuple(query_columns))
