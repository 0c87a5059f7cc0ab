"""What data files hold: columns, queries, labels, found in one pass of constant memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.documents import document_rows
from ml4ir_losses.data.inspecting.guesses import Guess, guess_roles
from ml4ir_losses.data.inspecting.profiles import ColumnProfile
from ml4ir_losses.data.layout import Layout
from ml4ir_losses.data.readers import first_reader, read_chunks
from ml4ir_losses.data.streaming.query_runs import QueryRuns, first_rows
from ml4ir_losses.data.table import Table

_MAX_LABELS = 50


@dataclass
class Inspection:
    """What data files hold.

    Attributes:
        source: the file, or the first of several.
        format: the format of the file; None for data in memory.
        rows: the number of rows that were read.
        columns: the columns.
        roles: the column of each role, and why.
        queries: the numbers of rows of the queries; None: no column is the query id.
        labels: the number of rows of each label; None: there is no label, or it has too many values.
    """

    source: str
    format: str | None
    rows: int
    columns: list[ColumnProfile]
    roles: dict[str, Guess]
    queries: QueryRuns | None
    labels: dict[str, int] | None

    def as_dict(self) -> dict[str, Any]:
        """All of it in JSON's types."""
        queries = None
        if self.queries is not None:
            sizes = self.queries.sizes()
            queries = {
                "number": len(sizes),
                "rows": {"min": int(sizes.min()), "median": float(np.median(sizes)), "max": int(sizes.max())},
                "adjacent": self.queries.adjacent,
            }
        return {
            "source": self.source,
            "format": self.format,
            "rows": self.rows,
            "columns": [_column(profile) for profile in self.columns],
            "roles": {role: {"column": guess.column, "reason": guess.reason} for role, guess in self.roles.items()},
            "queries": queries,
            "labels": self.labels,
        }


def inspect(
    sources: Any,
    *,
    format: str | None = None,
    options: Mapping[str, Any] | None = None,
    rows: int | None = None,
    query_id: str | None = None,
    label: str | None = None,
    document_id: str | None = None,
    weight: str | None = None,
    position: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Inspection:
    """Reads data files once and says what they hold.

    Args:
        sources: a path, a URL, a glob or a list of them; or data in memory.
        format: the key of a reader; None: by the ending of each file.
        options: parameters of the reader.
        rows: read so many rows only.
        query_id: the column with this role, and so on; None: what seems to be it.
        label: see `query_id`.
        document_id: see `query_id`.
        weight: see `query_id`.
        position: see `query_id`.
        progress: is called with the number of rows so far.

    Raises:
        UserError: unknown format or options.
        DataError: files that cannot be read, a column that there is not.
    """
    roles = {"query_id": query_id, "label": label, "document_id": document_id, "weight": weight, "position": position}
    reader = first_reader(sources, format)
    layout = Layout(untyped=reader is not None and reader.trait("untyped", False))
    inspection: Inspection | None = None
    profiles: dict[str, ColumnProfile] = {}
    for chunk in document_rows(read_chunks(sources, format, **(options or {})), roles):
        layout.add(chunk)
        table = layout.table(chunk)
        if inspection is None:
            guesses = guess_roles(table, roles)
            inspection = Inspection(table.source, reader.key if reader else None, 0, [], guesses, None, {})
            if "query_id" in guesses:
                inspection.queries = QueryRuns()
        if rows is not None and len(table) > rows - inspection.rows:
            table = table.take(range(rows - inspection.rows))
        _add(inspection, profiles, table)
        if progress is not None:
            progress(inspection.rows)
        if inspection.rows == rows:
            break
    if inspection is None:
        raise DataError("There is no file to inspect.")
    inspection.columns = list(profiles.values())
    return inspection


def _add(inspection: Inspection, profiles: dict[str, ColumnProfile], table: Table) -> None:
    """Adds the rows of a chunk."""
    same_query = np.zeros(len(table) - 1, bool)
    if inspection.queries is not None:
        ids = table.strings(inspection.roles["query_id"].column)
        starts = first_rows(ids)
        same_query[:] = True
        same_query[starts[1:] - 1] = False
        inspection.queries.add(list(ids[starts]), np.diff(starts, append=len(table)))
    for name, cells in table.columns.items():
        if name not in profiles:
            profiles[name] = ColumnProfile(name)
            profiles[name].rows = profiles[name].missing = inspection.rows
        profiles[name].add(cells, same_query)
    _count_labels(inspection, table)
    inspection.rows += len(table)


def _count_labels(inspection: Inspection, table: Table) -> None:
    guess = inspection.roles.get("label")
    if guess is None or inspection.labels is None:
        inspection.labels = None
        return
    counts = pc.value_counts(table.columns[guess.column])
    for value, count in zip(*(part.to_pylist() for part in counts.flatten()), strict=True):
        key = "missing" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
        inspection.labels[key] = inspection.labels.get(key, 0) + count
    if len(inspection.labels) > _MAX_LABELS:
        inspection.labels = None


def _column(profile: ColumnProfile) -> dict[str, Any]:
    """A profile in JSON's types."""
    column: dict[str, Any] = {
        "name": profile.name,
        "type": profile.kind,
        "missing": profile.missing,
        "distinct": profile.distinct,
        "distinct_is_exact": profile.is_exact,
        "scope": profile.scope,
    }
    if profile.kind in ("integer", "number"):
        numbers = profile.numbers
        column |= {"min": numbers.min, "mean": numbers.mean, "max": numbers.max, "skewness": numbers.skewness}
    elif profile.lengths is not None:
        column["items"] = {"min": profile.lengths[0], "max": profile.lengths[1]}
    else:
        column["examples"] = profile.examples
    return column
