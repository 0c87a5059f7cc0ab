"""Files to `Table`s by the readers of this folder: one function per format under its registry key.

The trait `endings` of a reader says which files it reads when a config names no format; `.gz` may follow.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from ml4ir_losses.core.errors import DataError
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
        DataError: no such file, a format that the ending does not tell, or content that cannot be read.
    """
    tables = []
    for path in _expand(spec):
        entry = READERS[format] if format else _reader_of(path)
        entry.check_parameters(READERS.kind, options)
        tables.append(entry.target(path, **options))
    return Table.concat(tables)


def read_data(data: str, format: str | None, options: Mapping[str, Any]) -> Table:
    """A file in the format of a config; where that reads no files, synthetic data, in the format of its ending."""
    if format is not None and not READERS[format].trait("endings", ()) and reader_by_ending(data):
        return read_table(data)
    return read_table(data, format, **options)


def reader_by_ending(path: str) -> Entry | None:
    """The reader of a file's ending; None where no reader has it."""
    ending = os.path.splitext(path.lower().removesuffix(".gz"))[1]
    known = chain(READERS.own(), READERS)  # other packages are imported only for endings that are not known
    return next((entry for entry in known if ending in entry.trait("endings", ())), None)


def _reader_of(path: str) -> Entry:
    entry = reader_by_ending(path)
    if entry is None:
        formats = ", ".join(sorted(entry.key for entry in READERS))
        raise DataError(f"The ending of {path!r} does not tell its data format. Set `format` to one of {formats}.")
    return entry


def _expand(spec: Any) -> list[str]:
    """The paths of a spec; what is no glob stays as it is, so that its reader can say what is wrong with it."""
    items = [spec] if isinstance(spec, (str, os.PathLike)) else spec
    if not isinstance(items, Sequence) or not all(isinstance(item, (str, os.PathLike)) for item in items):
        raise DataError(f"Data is given as a path, a glob or a list of these. Received: {spec!r}.")
    paths: list[str] = []
    for item in items:
        path = os.path.expanduser(os.fspath(item))
        if not glob.has_magic(path) or os.path.exists(path):
            paths.append(path)
            continue
        found = [match for match in sorted(glob.glob(path, recursive=True)) if os.path.isfile(match)]
        if not found:
            raise DataError(f"No file matches {path!r}.")
        paths += found
    return paths
