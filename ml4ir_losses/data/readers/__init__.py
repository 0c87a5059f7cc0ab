"""Readers of data files: one function per format, registered under its key, from a path to a `Table`.

The trait `endings` of a reader lists the file endings that it reads if no format is given; `.gz` may follow them.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from ml4ir_losses.core.errors import ConfigError, DataError, UserError
from ml4ir_losses.core.registry import READERS, Entry
from ml4ir_losses.data.table import Table


def read_table(
    spec: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], format: str | None = None, **options: Any
) -> Table:
    """The rows of a file, of all files of a glob (sorted by name), or of a list of these (in its order).

    Args:
        spec: a path, a glob or a list of them.
        format: the key of a reader; None: by the ending of each file.
        **options: parameters of the reader.

    Raises:
        UserError: unknown format or option.
        DataError: no such file, an ending that belongs to no format, or content that cannot be read.
    """
    tables = []
    for path in _expand(spec):
        entry = READERS[format] if format else _reader_of(path)
        entry.check_parameters(READERS.kind, options)
        tables.append(entry.target(path, **options))
    return Table.concat(tables)


def read_files(paths: Any, format: str | None, options: Mapping[str, Any]) -> Table:
    """The table of the files of a config's data section.

    Raises:
        ConfigError: for an unknown format, or wrong options.
        DataError: for files that cannot be read.
    """
    try:
        return read_table(paths, format, **options)
    except DataError:
        raise
    except (UserError, TypeError) as error:
        raise ConfigError(f"data.options: {error}") from None


def read_data(data: str, format: str | None, options: Mapping[str, Any]) -> Table:
    """The table of a file in the config's format, or by its ending if that format (`synthetic`) reads no files."""
    if format is not None and not READERS[format].trait("endings", ()) and reader_by_ending(data):
        return read_table(data)
    return read_table(data, format, **options)


def reader_by_ending(path: str) -> Entry | None:
    """The reader for a file's ending; None if there is none."""
    ending = os.path.splitext(path.lower().removesuffix(".gz"))[1]
    known = chain(READERS.own(), READERS)  # other packages are imported only for unknown endings
    return next((entry for entry in known if ending in entry.trait("endings", ())), None)


def _reader_of(path: str) -> Entry:
    entry = reader_by_ending(path)
    if entry is None:
        formats = ", ".join(sorted(entry.key for entry in READERS))
        raise DataError(f"The ending of {path!r} does not tell its data format. Set `format` to one of {formats}.")
    return entry


def _expand(spec: Any) -> list[str]:
    """The paths of a spec; a path without wildcards is not checked here, but by its reader."""
    items = [spec] if isinstance(spec, (str, os.PathLike)) else spec
    if not isinstance(items, Sequence) or not all(isinstance(item, (str, os.PathLike)) for item in items):
        raise DataError(f"Data is given as a path, a glob or a list of these. Received: {spec!r}.")
    paths: list[str] = []
    for item in items:
        path = os.path.expanduser(os.fspath(item))
        if not glob.has_magic(path) or os.path.exists(path):
            paths.append(path)
            continue
        matches = [match for match in sorted(glob.glob(path, recursive=True)) if os.path.isfile(match)]
        if not matches:
            raise DataError(f"No file matches {path!r}.")
        paths += matches
    return paths
