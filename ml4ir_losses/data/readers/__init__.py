"""Readers of data files: one function per format, registered under its key, from a path to chunks of rows.

A reader yields a `Table` for each chunk of about `CHUNK_BYTES`, in file order, or returns one `Table` for small data.
The trait `endings` of a reader lists the file endings that it reads if no format is given; `.gz` or `.zst` may follow.
`untyped` is True for a format whose cells are text.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

from ml4ir_losses.config.in_memory import InMemory, is_description
from ml4ir_losses.core.errors import ConfigError, DataError, UserError
from ml4ir_losses.core.registry import READERS, Entry
from ml4ir_losses.data.files import expand, is_directory, without_compression
from ml4ir_losses.data.memory import memory_table
from ml4ir_losses.data.table import Table


def read_chunks(spec: Any, format: str | None = None, **options: Any) -> Iterator[Table]:
    """The rows of a file, of all files of a glob (sorted by name), or of a list of these (in its order), in chunks.

    Args:
        spec: a path, a URL, a glob or a list of them; or data in memory, see `memory_table`.
        format: the key of a reader; None: by the ending of each file.
        **options: parameters of the reader.

    Raises:
        UserError: unknown format or option.
        DataError: no such file, an ending that belongs to no format, or content that cannot be read.
    """
    if not _is_paths(spec):
        yield memory_table(spec)
        return
    for item in _listed(spec):
        if isinstance(item, InMemory):
            yield memory_table(item.data, item.name)
            continue
        entry = reader_of(item, format)
        entry.check_parameters(READERS.kind, options)
        read = entry.target(item, **options)
        if isinstance(read, Table):
            yield read
        else:
            yield from read


def read_table(spec: Any, format: str | None = None, **options: Any) -> Table:
    """The chunks of `read_chunks` as one table."""
    return Table.concat(list(read_chunks(spec, format, **options)))


def read_files(paths: Any, format: str | None, options: Mapping[str, Any]) -> Table:
    """The table of the files of a config's data section.

    Raises:
        ConfigError: for an unknown format, or wrong options.
        DataError: for files that cannot be read.
    """
    with checked_options():
        return read_table(paths, format, **options)


@contextmanager
def checked_options() -> Iterator[None]:
    """Turns errors about the format and its options into a `ConfigError`."""
    try:
        yield
    except DataError:
        raise
    except (UserError, TypeError) as error:
        raise ConfigError(f"data.options: {error}") from None


def paths_of(spec: Any) -> list[str]:
    """The files of a spec, without the data in memory."""
    return [item for item in _listed(spec) if isinstance(item, str)] if _is_paths(spec) else []


def read_data(data: Any, format: str | None, options: Mapping[str, Any]) -> Table:
    """The table of data in memory, or of a file in the config's format, unless `has_own_format`."""
    return read_table(data) if has_own_format(data, format) else read_table(data, format, **options)


def has_own_format(data: Any, format: str | None) -> bool:
    """True for a file whose ending tells its format where that of the config (`synthetic`) reads no files."""
    return (
        isinstance(data, (str, os.PathLike))
        and format is not None
        and not READERS[format].trait("endings", ())
        and reader_by_ending(os.fspath(data)) is not None
    )


def reader_by_ending(path: str) -> Entry | None:
    """The reader for a file's ending; None if there is none."""
    ending = os.path.splitext(without_compression(path))[1]
    known = chain(READERS.own(), READERS)  # other packages are imported only for unknown endings
    return next((entry for entry in known if ending in entry.trait("endings", ())), None)


def first_reader(spec: Any, format: str | None = None) -> Entry | None:
    """The reader of the first file of a spec, as `read_chunks` takes it; None for data in memory.

    Raises:
        UserError: unknown format.
        DataError: no such file, or an ending that belongs to no format.
    """
    item = next(_listed(spec), None) if _is_paths(spec) else None
    return reader_of(item, format) if isinstance(item, str) else None


def reader_of(path: str, format: str | None = None) -> Entry:
    """The reader of a format, or of the ending of a path.

    Raises:
        UserError: unknown format.
        DataError: an ending that belongs to no format.
    """
    entry = READERS[format] if format else reader_by_ending(path)
    if entry is None and is_directory(path):
        return READERS["huggingface"]
    if entry is None:
        formats = ", ".join(sorted(entry.key for entry in READERS))
        raise DataError(
            f"The ending of {path!r} does not tell its data format. Give data.format (inspect: --format, convert: "
            f"--from), one of {formats}."
        )
    return entry


def _is_paths(spec: Any) -> bool:
    """True for a path or a list of paths."""
    kinds = (str, os.PathLike, InMemory)
    return isinstance(spec, kinds) or (isinstance(spec, Sequence) and all(isinstance(item, kinds) for item in spec))


def _listed(spec: Any) -> Iterator[str | InMemory]:
    """The files and objects of a spec; a path without wildcards is not checked here, but by its reader."""
    for item in spec if isinstance(spec, Sequence) and not isinstance(spec, str) else [spec]:
        if isinstance(item, InMemory):
            yield item
            continue
        path = os.fspath(item)
        if is_description(path):
            raise DataError(f"These data were {path}; a saved config does not hold them. Give them again: `data=`.")
        yield from expand(path)
