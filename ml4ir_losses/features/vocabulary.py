"""Vocabularies from files."""

from __future__ import annotations

from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.files import open_binary


def read_vocabulary(path: str) -> list[str]:
    """The values of a file with one value per line.

    Raises:
        DataError: for a file that is no UTF-8 text or holds no value, and for an empty or repeated line.
    """
    with open_binary(path) as stream:
        content = stream.read()
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    first: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        try:
            value = line.removesuffix(b"\r").decode()
        except UnicodeDecodeError:
            raise DataError(f"{path}, line {number}: is not UTF-8 text; a vocabulary has one value per line.") from None
        if not value:
            raise DataError(f"{path}, line {number}: is empty; a vocabulary has one value per line.")
        if value in first:
            raise DataError(f"{path}, line {number}: {value!r} is there twice, first in line {first[value]}.")
        first[value] = number
    if not first:
        raise DataError(f"{path}: is empty; a vocabulary has one value per line.")
    return list(first)
