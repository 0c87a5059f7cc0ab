"""Conversion of data files from one format to another, in constant memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from ml4ir_losses.core.errors import DataError, UserError, unknown_name
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.data.documents import document_rows
from ml4ir_losses.data.files import is_url
from ml4ir_losses.data.layout import Layout, matches
from ml4ir_losses.data.readers import first_reader, read_chunks, reader_of
from ml4ir_losses.data.roles import find_roles
from ml4ir_losses.data.streaming.sorting import sorted_by_query
from ml4ir_losses.data.table import Table
from ml4ir_losses.data.writers import check_output, write_chunks, writer_of
from ml4ir_losses.data.writers.base import WriterRoles


def convert(
    sources: Any,
    output: str | os.PathLike[str],
    *,
    from_format: str | None = None,
    to_format: str | None = None,
    read_options: Mapping[str, Any] | None = None,
    write_options: Mapping[str, Any] | None = None,
    query_id: str | None = None,
    label: str | None = None,
    document_id: str | None = None,
    weight: str | None = None,
    position: str | None = None,
    query_columns: Sequence[str] = (),
    columns: Sequence[str] = (),
    exclude: Sequence[str] = (),
    keep_text: Sequence[str] = (),
    sort: bool = False,
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Writes the rows of files in another format, and returns their number.

    Numbers, missing cells and lists are kept. In formats whose cells are all text, such as CSV, columns of numbers are
    read as numbers; ids of queries and documents stay text. Files appear when all is written.

    Args:
        sources: a path, a URL, a glob or a list of them; or data in memory.
        output: the file or URL that is written.
        from_format: the key of a reader; None: by the ending of each file.
        to_format: the key of a writer; None: by the ending of `output`.
        read_options: parameters of the reader.
        write_options: parameters of the writer.
        query_id: the column with this role, and so on; None: the column that has a usual name.
        label: see `query_id`.
        document_id: see `query_id`.
        weight: see `query_id`.
        position: see `query_id`.
        query_columns: columns that have one value per query.
        columns: names or globs of the columns that are written besides query id, label and document id; empty: all.
        exclude: names or globs of columns that are not written.
        keep_text: names or globs of columns of text that stay text although they hold numbers.
        sort: sort the rows by query first, on disk, beside a local output; queries keep their order, and rows theirs.
        overwrite: replace files that exist.
        progress: is called with the number of rows so far.

    Raises:
        UserError: unknown formats or options.
        DataError: files that cannot be read or written, columns that there are not, cells that a format cannot hold.
    """
    roles = {"query_id": query_id, "label": label, "document_id": document_id, "weight": weight, "position": position}

    check_output(output, to_format, write_options or {}, overwrite)

    def read() -> Iterator[Table]:
        return document_rows(read_chunks(sources, from_format, **(read_options or {})), roles)

    begun = read()
    first = next(begun, None)
    if first is None:
        raise DataError("There is no file to convert.")
    found = find_roles([name for name in first.names if not matches(name, exclude)], roles, query_columns)
    ids = [name for name in (found.query_id, found.document_id) if name]
    keep = [name for name in (*ids, found.label, weight, position, *query_columns) if name]
    reader = first_reader(sources, from_format)
    untyped = reader is not None and reader.trait("untyped", False)
    layout = Layout(columns, exclude, keep, [*keep_text, *ids], untyped)
    source: Callable[[], Iterator[Table]] = partial(chain, [first], begun)
    while True:
        with _ordered(source, found, output, sort) as ordered:
            chunks = _counted(ordered, progress)
            try:
                rows = _fitted(chunks, layout)
                return write_chunks(output, rows, to_format, roles=found, overwrite=overwrite, **(write_options or {}))
            except _LayoutChanged as change:
                LOGGER.info("%s; all rows are read first to find the types of the columns", change)
            for table in chunks:
                layout.add(table)
        source = read


@contextmanager
def _ordered(
    source: Callable[[], Iterator[Table]], roles: WriterRoles, output: str | os.PathLike[str], sort: bool
) -> Iterator[Iterator[Table]]:
    """The chunks of a source, sorted by query on disk if asked for."""
    if not sort:
        yield source()
        return
    folder = tempfile.gettempdir() if is_url(os.fspath(output)) else Path(output).expanduser().parent
    with sorted_by_query(source, roles.need("query_id", "sort"), 0, Path(folder)) as ordered:
        yield ordered


def options_of(
    options: Mapping[str, Any], sources: Sequence[str], from_format: str | None, output: str, to_format: str | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of the reader and those of the writer; the name of one that both have starts with `from.` or `to.`.

    Raises:
        UserError: for an option that neither has, or that both have.
    """
    entries = {"from": reader_of(sources[0], from_format), "to": writer_of(output, to_format)}
    sides: dict[str, dict[str, Any]] = {"from": {}, "to": {}}
    for option, value in options.items():
        side, dot, name = option.partition(".")
        if dot and side in sides:
            sides[side][name] = value
            continue
        owners = [side for side, entry in entries.items() if option in entry.parameters]
        if len(owners) != 1:
            known = [f"{side}.{name}" for side, entry in entries.items() for name in entry.parameters]
            raise UserError(f"--option: {unknown_name('option', option, known)}")
        sides[owners[0]][option] = value
    return sides["from"], sides["to"]


class _LayoutChanged(Exception):
    """A chunk does not fit the columns that were written for the chunks before it."""


def _fitted(chunks: Iterable[Table], layout: Layout) -> Iterator[Table]:
    """The chunks with the columns and types of the layout."""
    for table in chunks:
        before = dict(layout.types)
        if layout.add(table) and before:
            changed = next(name for name, kind in layout.types.items() if before.get(name) != kind)
            raise _LayoutChanged(f"{table.locate(0)} and below: the column {changed!r} holds {layout.types[changed]}")
        yield layout.table(table)


def _counted(chunks: Iterable[Table], progress: Callable[[int], None] | None) -> Iterator[Table]:
    """The chunks; each is counted when the next one is asked for."""
    rows = 0
    for table in chunks:
        yield table
        rows += len(table)
        if progress is not None:
            progress(rows)
