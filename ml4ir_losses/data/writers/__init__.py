"""Writers of data files: one class per format, registered under its key, that takes chunks of rows.

The trait `endings` of a writer lists the file endings of its format; `.gz` or `.zst` may follow those of text formats.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.registry import WRITERS, Entry
from ml4ir_losses.data.files import CHUNK_BYTES, exists, without_compression
from ml4ir_losses.data.table import Table
from ml4ir_losses.data.writers.base import WriterRoles
from ml4ir_losses.data.writers.output import staged

NO_ROLES = WriterRoles()


def write_chunks(
    path: str | os.PathLike[str],
    chunks: Iterable[Table],
    format: str | None = None,
    *,
    roles: WriterRoles = NO_ROLES,
    overwrite: bool = False,
    **options: Any,
) -> int:
    """Writes rows chunk by chunk, atomically: after an error or an interruption there is no new file.

    Args:
        path: the file or URL.
        chunks: tables with the same columns.
        format: the key of a writer; None: by the ending of the path.
        roles: the roles of the columns.
        overwrite: replace files that exist.
        **options: parameters of the writer.

    Returns:
        The number of rows.

    Raises:
        UserError: unknown format or option.
        DataError: a file that exists or cannot be written, no rows, cells that the format cannot hold.
    """
    path, entry = check_output(path, format, options, overwrite)
    rows = 0
    with staged(path) as place:
        writer = entry.target(place, roles=roles, **options)
        with writer.streams:
            if not overwrite:
                _check_new(path, writer.paths)
            for table in chain.from_iterable(map(_parts, chunks)):
                writer.write(table)
                rows += len(table)
            if not rows:
                raise DataError(f"There are no rows to write to {path}.")
            writer.close()
    return rows


def check_output(
    path: str | os.PathLike[str], format: str | None, options: Mapping[str, Any], overwrite: bool
) -> tuple[str, Entry]:
    """The path without `~`, and the writer; what can be checked before there are rows.

    Raises:
        UserError: unknown format or option.
        DataError: a file that exists, or an ending that belongs to no format.
    """
    path = os.path.expanduser(os.fspath(path)).rstrip("/")
    entry = writer_of(path, format)
    entry.check_parameters(WRITERS.kind, options)
    if not overwrite:
        _check_new(path, [path])
    return path, entry


def writer_of(path: str, format: str | None = None) -> Entry:
    """The writer of a format, or of the ending of a path.

    Raises:
        UserError: unknown format.
        DataError: an ending that belongs to no format.
    """
    if format is not None:
        return WRITERS[format]
    ending = os.path.splitext(without_compression(path))[1]
    known = chain(WRITERS.own(), WRITERS)  # other packages are imported only for unknown endings
    entry = next((entry for entry in known if ending in entry.trait("endings", ())), None)
    if entry is None:
        formats = ", ".join(sorted(entry.key for entry in WRITERS))
        raise DataError(
            f"The ending of {path!r} does not tell its data format. Set `format` (convert: --to) to one of {formats}."
        )
    return entry


def _check_new(path: str, places: Iterable[str]) -> None:
    """Raises `DataError` where a file is that shall be written."""
    folder = path[: len(path) - len(os.path.basename(path))]
    for place in places:
        target = folder + os.path.basename(place)
        if exists(target):
            raise DataError(f"{target} exists. Choose another name, or overwrite it (--force).")


def _parts(table: Table) -> Iterator[Table]:
    """The rows of a table in parts of about `CHUNK_BYTES`."""
    size = table.to_arrow().nbytes
    rows = max(1, len(table) * CHUNK_BYTES // max(size, 1))
    if rows >= len(table):
        yield table
        return
    for start in range(0, len(table), rows):
        yield table.take(range(start, min(start + rows, len(table))))
