"""Data files: paths, globs and URLs, decompressed by their ending."""

from __future__ import annotations

import glob
import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.extras import import_extra

COMPRESSIONS = (".gz", ".zst")
CHUNK_BYTES = 16 << 20
"""About how many bytes of cells a reader puts into one chunk."""
_BUFFER_BYTES = 1 << 20  # long lines are read faster from a large buffer


_open_files: dict[str, Any] = {}


def bytes_read(path: str) -> int | None:
    """How far an open file of this machine is read, in stored bytes; None if it is not open."""
    try:
        return int(_open_files[path].tell())
    except (KeyError, ValueError, OSError):
        return None


def without_compression(path: str) -> str:
    """The path in lower case, without the ending of its compression."""
    lower = path.lower()
    return next((lower.removesuffix(ending) for ending in COMPRESSIONS if lower.endswith(ending)), lower)


def is_url(path: str) -> bool:
    """True for a URL such as `s3://bucket/key`, which `fsspec` opens."""
    return "://" in path


def expand(path: str) -> list[str]:
    """The files that match a glob, sorted by name; a path without wildcards stays as it is, whether it exists or not.

    Raises:
        DataError: if no file matches.
    """
    if is_url(path):
        if not glob.has_magic(path):
            return [path]
        system, inside = file_system(path)
        matches = sorted(system.unstrip_protocol(match) for match in system.glob(inside) if system.isfile(match))
    else:
        path = os.path.expanduser(path)
        if not glob.has_magic(path) or os.path.exists(path):
            return [path]
        matches = [match for match in sorted(glob.glob(path, recursive=True)) if os.path.isfile(match)]
    if not matches:
        raise DataError(f"No file matches {path!r}.")
    return matches


def exists(path: str) -> bool:
    """True for a file or a folder that exists."""
    if not is_url(path):
        return os.path.exists(path)
    with _readable(path):
        system, inside = file_system(path)
        return bool(system.exists(inside))


def is_directory(path: str) -> bool:
    """True for a folder that exists."""
    if not is_url(path):
        return os.path.isdir(path)
    with _readable(path):
        system, inside = file_system(path)
        return bool(system.isdir(inside))


def beside(path: str, *endings: str) -> str | None:
    """The first file that exists among those of the path's name with these endings, added to it or in place of its own.

    The ending of a compression belongs to the name of the file, or not.
    """
    plain = path[: len(without_compression(path))]
    names = dict.fromkeys((path, plain, os.path.splitext(plain)[0]))
    found = (name + ending for name in names for ending in endings if name + ending != path)
    return next((candidate for candidate in found if exists(candidate)), None)


def relative_to(path: str, name: str) -> str:
    """The path of a file that is named with a data file: as it is, or else in the folder of the data file."""
    if is_url(name) or os.path.isabs(name) or exists(name):
        return name
    inside = "/".join((path.rpartition("/")[0] or ".", name))
    return inside if exists(inside) else name


@contextmanager
def open_seekable(path: str) -> Iterator[Any]:
    """The bytes of a file as they are stored.

    Raises:
        DataError: no such file, a directory, or a file that cannot be read.
    """
    with _readable(path):
        if is_url(path):
            system, inside = file_system(path)
            with system.open(inside, "rb") as stream, io.BufferedReader(stream, _BUFFER_BYTES) as buffered:
                yield buffered
            return
        if os.path.isdir(path):
            raise DataError(f"{path} is a directory; name its files, for instance {os.path.join(path, '*.csv')!r}.")
        with open(path, "rb", buffering=_BUFFER_BYTES) as stream:
            _open_files[path] = stream
            try:
                yield stream
            finally:
                _open_files.pop(path, None)


@contextmanager
def open_binary(path: str) -> Iterator[io.BufferedIOBase]:
    """The bytes of a file, decompressed if its name ends with `.gz` or `.zst`.

    Raises:
        DataError: no such file, a directory, a damaged file, or one that cannot be read.
    """
    with open_seekable(path) as stored, _readable(path):
        if path.lower().endswith(".gz"):
            with gzip.GzipFile(fileobj=stored) as stream:
                yield io.BufferedReader(stream, _BUFFER_BYTES)  # reads lines many times faster
        elif path.lower().endswith(".zst"):
            with pa.CompressedInputStream(pa.PythonFile(stored, "r"), "zstd") as stream:
                yield io.BufferedReader(stream, _BUFFER_BYTES)
        else:
            yield stored


@contextmanager
def _readable(path: str) -> Iterator[None]:
    """Turns errors of reading into a `DataError`; EOFError and zlib.error come from damaged gzip files."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{path} does not exist.") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def file_system(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path there."""
    fsspec = import_extra("fsspec", "cloud", "Paths with a protocol")
    try:
        return fsspec.core.url_to_fs(url)  # type: ignore[no-any-return]
    except (ImportError, ValueError) as error:
        protocol = url.partition("://")[0]
        advice = f': pip install "ml4ir-losses[{protocol}]"' if protocol in ("s3", "gs") else ""
        raise DataError(f"{url} cannot be opened: {str(error).rstrip('.')}{advice}.") from None
