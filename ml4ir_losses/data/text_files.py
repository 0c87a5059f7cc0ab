"""Text files as decompressed bytes, and their cells in messages."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.files import how_to_convert, wide_encoding


@contextmanager
def open_text(path: str, *, wide: bool = False) -> Iterator[Any]:
    """The decompressed bytes of a text file; `wide` allows zero bytes, as in UTF-16.

    Raises:
        DataError: no such file, a directory, an empty, binary, damaged or unreadable file.
    """
    if os.path.isdir(path):
        raise DataError(f"{path} is a directory; name its files, for instance {os.path.join(path, '*.csv')!r}.")
    if not os.path.exists(path):
        raise DataError(f"{path} does not exist.")
    try:
        with gzip.open(path) if path.lower().endswith(".gz") else open(path, "rb") as stream:
            head = stream.peek(1)
            if (encoding := wide_encoding(head)) is not None and not wide:
                raise DataError(f"{path} {how_to_convert(encoding)}; for CSV, set data.options.encoding instead.")
            if not head or (b"\0" in head and not wide):
                raise DataError(f"{path} is {'a binary file, not text' if head else 'empty'}.")
            yield stream
    except (OSError, EOFError, zlib.error) as error:  # the latter two: damaged gzip files
        raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None


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
