"""Atomic file writes, and detection of wide text encodings."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from ml4ir_losses.core.errors import DataError, NotWritten


def write_atomically(path: str | os.PathLike[str], write: Callable[[Path], Any], suffix: str = "") -> None:
    """Lets `write` fill a temporary file beside `path`, then renames it to `path`.

    Raises:
        NotWritten: when the folder cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{suffix or path.suffix}")
    try:
        write(temporary)
        temporary.replace(path)
    except OSError as error:
        raise NotWritten(f"{path}: cannot be written ({error.strerror or error}).") from None
    finally:
        temporary.unlink(missing_ok=True)


def remove_temporary(folder: Path) -> None:
    """Removes what `write_atomically` left in a folder when its process was killed."""
    for file in folder.glob(".*"):
        if re.fullmatch(r"\..+\.\d+(\.\w+)?", file.name):
            file.unlink(missing_ok=True)


def flush_to_disk(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk.

    A file that is renamed before may be empty after a power failure.
    """
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a text file atomically."""
    write_atomically(path, lambda p: p.write_text(text, encoding="utf-8", newline=""))


def wide_encoding(start: bytes) -> str | None:
    """`UTF-16` or `UTF-32` where the first bytes of a file are its byte order mark, else None."""
    if start.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "UTF-32"
    return "UTF-16" if start.startswith((b"\xff\xfe", b"\xfe\xff")) else None


def how_to_convert(encoding: str) -> str:
    """The end of a message about a text file in a wide encoding."""
    return f"is {encoding} text; save it as UTF-8, for instance with: iconv -f {encoding} -t UTF-8 FILE > NEW"


def read_json(path: Path, default: Any = None) -> Any:
    """What a JSON file holds; the default where there is no such file.

    Raises:
        DataError: when it cannot be read or is not JSON.
    """
    if not path.is_file():
        return default
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: is not JSON ({error}).") from None
    except RecursionError:
        raise DataError(f"{path}: is nested too deeply.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from None


def write_csv(path: str | os.PathLike[str], header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Writes a CSV file atomically, row by row; None is an empty cell."""

    def write(part: Path) -> None:
        with part.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(rows)

    write_atomically(path, write)
