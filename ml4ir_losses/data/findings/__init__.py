"""Findings: what silently ruins a result, one line each, from the queries of all splits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.findings import columns as of_columns
from ml4ir_losses.data.findings import labels as of_labels
from ml4ir_losses.data.findings.base import Finding
from ml4ir_losses.data.findings.splits import shared_data
from ml4ir_losses.data.queries import Queries, Roles
from ml4ir_losses.data.table import Table

__all__ = ["Finding", "check_findings", "findings"]


def findings(
    splits: Mapping[str, Queries],
    columns: Mapping[str, Sequence[str]],
    roles: Roles,
    tables: Mapping[str, Table] | None = None,
) -> list[Finding]:
    """What is wrong with the data; nothing for data as they should be.

    Args:
        splits: the queries by split, with labels; `train` first. Of a split that is larger than memory, some of them.
        columns: the columns of each input.
        roles: the columns of ids and labels.
        tables: the rows of the splits, for what their files show.
    """
    found = list(_of_queries(splits, columns, roles))
    for split, table in (tables or {}).items():
        found += of_columns.split_queries(split, table, roles.query_id)
    return found


def _of_queries(splits: Mapping[str, Queries], columns: Mapping[str, Sequence[str]], roles: Roles) -> Iterator[Finding]:
    train, label = splits["train"], roles.label
    yield from of_labels.leaking_inputs("train", train, columns, label)
    yield from of_columns.query_ids("train", train, columns, roles)
    yield from of_columns.constant_inputs("train", train, columns)
    for split, queries in splits.items():
        yield from of_labels.label_order(split, queries, label)
        yield from of_labels.useless_queries(split, queries, label)
        yield from of_columns.query_scope(split, queries)
        if roles.document_id is not None:
            yield from of_columns.duplicate_documents(split, queries)
        if split != "train":
            yield from of_columns.unknown_categories(train, split, queries)
    yield from shared_data(splits, roles.document_id is not None)


def check_findings(found: Sequence[Finding]) -> None:
    """Raises `DataError` with all findings, if there are any."""
    if found:
        lines = " ".join(f"{finding}." for finding in found)
        raise DataError(f"{len(found)} {'finding' if len(found) == 1 else 'findings'} (strict): {lines}")
