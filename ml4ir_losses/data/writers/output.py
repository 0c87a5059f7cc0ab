"""New files: written beside their place and moved there at the end, or uploaded as a whole."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.files import file_system, is_url


@contextmanager
def staged(path: str) -> Iterator[str]:
    """A path of the same name to write at; what was written appears at `path` and beside it when the block ends.

    After an error or an interruption nothing appears. Local files lie in a hidden folder beside `path` until then,
    those of a URL are one transaction of their file system.

    Raises:
        DataError: when the files cannot be written.
    """
    try:
        if is_url(path):
            system, _ = file_system(path)
            with system.transaction:
                yield path
            return
        target = Path(path)
        folder = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            folder.mkdir(parents=True)
            yield str(folder / target.name)
            for written in sorted(folder.iterdir()):
                _replace(written, target.with_name(written.name))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}.") from None


@contextmanager
def create_binary(path: str) -> Iterator[Any]:
    """A stream to a new file, compressed if its name ends with `.gz` or `.zst`."""
    with ExitStack() as streams:
        if is_url(path):
            system, inside = file_system(path)
            stream = streams.enter_context(system.open(inside, "wb"))
        else:
            stream = streams.enter_context(open(path, "wb"))
        if path.lower().endswith(".gz"):
            stream = streams.enter_context(gzip.GzipFile("", "wb", 6, stream, mtime=0))
        elif path.lower().endswith(".zst"):
            stream = streams.enter_context(pa.CompressedOutputStream(pa.PythonFile(stream, "w"), "zstd"))
        yield stream


def _replace(new: Path, target: Path) -> None:
    """Puts a file or a folder in the place of another."""
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    os.replace(new, target)
