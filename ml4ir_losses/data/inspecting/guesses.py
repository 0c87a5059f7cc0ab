"""Which columns seem to be the query id, the label, the document id, the position and the date, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml4ir_losses.data.cells import is_list
from ml4ir_losses.data.inspecting.profiles import kind_of
from ml4ir_losses.data.roles import NAMES, find_roles
from ml4ir_losses.data.streaming.query_runs import first_rows
from ml4ir_losses.data.table import Table, places

_MOST_GRADES = 6
_HIGHEST_GRADE = 10


@dataclass(frozen=True)
class Guess:
    """A column and the reason for its role; certain if the column was given or has a usual name."""

    column: str
    reason: str
    certain: bool = False


def guess_roles(table: Table, given: Mapping[str, str | None]) -> dict[str, Guess]:
    """The columns of the roles: those given, those with a usual name, and those whose cells tell.

    Args:
        table: the first rows of the data; columns of numbers are not text.
        given: columns by role.

    Raises:
        DataError: for a given column that there is not.
    """
    roles = find_roles(table.names, given)
    guesses = {
        role: Guess(name, "given" if given.get(role) else "by its name", certain=True)
        for role in NAMES
        if (name := getattr(roles, role)) is not None
    }
    for role, guess in _GUESSES.items():
        if role not in guesses:
            found = guess(table, {other.column for other in guesses.values()}, guesses.get("query_id"))
            if found is not None:
                guesses[role] = found
    return guesses


def _query_id(table: Table, taken: set[str], query: Guess | None) -> Guess | None:
    for name, _ in _columns(table, taken, "integer", "text"):
        runs = len(first_rows(table.strings(name)))
        if 1 < runs <= len(table) / 1.5 and runs == len(pc.unique(table.columns[name])):
            return Guess(name, f"equal values stand together, {len(table) / runs:.3g} rows each")
    return None


def _label(table: Table, taken: set[str], query: Guess | None) -> Guess | None:
    found = []
    for name, cells in _columns(table, taken, "integer"):
        values = sorted(pc.unique(cells).to_pylist())
        if 2 <= len(values) <= _MOST_GRADES and values[0] >= 0 and values[-1] <= _HIGHEST_GRADE:
            found.append(Guess(name, f"the only column of few whole numbers, {values[0]} to {values[-1]}"))
    return found[0] if len(found) == 1 else None


def _document_id(table: Table, taken: set[str], query: Guess | None) -> Guess | None:
    for name, cells in _columns(table, taken, "text"):
        words = pc.any(pc.match_substring_regex(cells, r"\s")).as_py()
        if not words and len(pc.unique(cells)) > len(table) / 2:
            return Guess(name, "most values are its only one, without spaces")
    return None


def _position(table: Table, taken: set[str], query: Guess | None) -> Guess | None:
    if query is None:
        return None
    expected = pa.array(places(np.append(first_rows(table.strings(query.column)), len(table))))
    for name, cells in _columns(table, taken, "integer"):
        if len(cells) == len(table) and pc.all(pc.equal(cells, expected)).as_py() and pc.max(cells).as_py() > 1:
            return Guess(name, "counts the rows of each query from 1")
    return None


def _date(table: Table, taken: set[str], query: Guess | None) -> Guess | None:
    return next((Guess(name, "holds dates") for name, _ in _columns(table, taken, "date")), None)


_GUESSES: dict[str, Callable[[Table, set[str], Guess | None], Guess | None]] = {
    "query_id": _query_id,
    "position": _position,
    "label": _label,
    "document_id": _document_id,
    "date": _date,
}


def _columns(table: Table, taken: set[str], *kinds: str) -> Iterator[tuple[str, pa.ChunkedArray]]:
    """The columns of some types without role, and their cells that are not missing."""
    for name, column in table.columns.items():
        cells = column.drop_null()
        if name not in taken and len(cells) and not is_list(cells.type) and kind_of(cells) in kinds:
            yield name, cells
