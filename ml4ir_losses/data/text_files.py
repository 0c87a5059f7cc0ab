"""Text files as decompressed bytes, and their cells in messages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.files import how_to_convert, wide_encoding
from ml4ir_losses.data.files import open_binary
from ml4ir_losses.data.table import Source


@contextmanager
def open_text(path: str, *, wide: bool = False) -> Iterator[Any]:
    """The decompressed bytes of a text file; `wide` allows zero bytes, as in UTF-16.

    Raises:
        DataError: no such file, a directory, an empty, binary, damaged or unreadable file.
    """
    with open_binary(path) as stream:
        head = stream.peek(1)  # type: ignore[attr-defined]
        if (encoding := wide_encoding(head)) is not None and not wide:
            raise DataError(
                f"{path} {how_to_convert(encoding)}; for CSV, set data.options.encoding: {encoding.lower()} instead."
            )
        if not head or (b"\0" in head and not wide):
            raise DataError(f"{path} is {'a binary file, not text' if head else 'empty'}.")
        yield stream


def blocks_of_lines(stream: Any, size: int) -> Iterator[tuple[int, list[bytes]]]:
    """The lines of a stream in blocks of about `size` bytes, with the number of the first line of each."""
    number = 1
    while lines := stream.readlines(size):
        yield number, lines
        number += len(lines)


def lines_source(path: str, numbers: Array) -> Source:
    """The source of rows with these line numbers [rows]."""
    return Source(path, len(numbers), lambda row: int(numbers[row]))


def is_number(text: str) -> bool:
    """True if `float` can parse the text."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def short(text: str) -> str:
    """The text in quotes, cut after 60 characters."""
    return repr(text if len(text) <= 60 else f"{text[:60]}...")
