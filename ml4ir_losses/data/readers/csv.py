"""The reader `csv`: files with a header line, streamed by pyarrow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated

from annotated_types import Len, MaxLen

from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.core.parameters import Allowed
from ml4ir_losses.core.registry import register_reader
from ml4ir_losses.data.delimited import NA_VALUES, Delimited
from ml4ir_losses.data.files import without_compression
from ml4ir_losses.data.table import Table

Character = Annotated[str, Len(1, 1), Allowed("one character")]
CharacterOrNone = Annotated[str, MaxLen(1), Allowed('one character or ""')]
NaValues = Annotated[tuple[str, ...], Allowed("a list of strings")]
DELIMITERS = (",", "\t", ";", "|")


@register_reader("csv", aliases=("tsv",), endings=(".csv", ".tsv"), untyped=True)
def read_csv(
    path: str,
    *,
    delimiter: Character | None = None,
    quote: CharacterOrNone = '"',
    encoding: str = "utf-8",
    na_values: NaValues = NA_VALUES,
) -> Iterator[Table]:
    """CSV with a header line; cells are read as text, and converted where numbers are needed.

    Args:
        path: the file.
        delimiter: one character; None: a tab for `.tsv` and a comma for other files, or else a tab, semicolon or "|"
            that the header and the first row show.
        quote: the character around cells that hold delimiters or line ends; "" for files without quoting.
        encoding: the text encoding of the file, a Python codec.
        na_values: texts of missing cells, besides the empty cell.

    Raises:
        DataError: no rows, a duplicate column name, a line with a wrong number of cells, text in another encoding.
    """
    usual = "\t" if without_compression(path).endswith(".tsv") else ","
    file = Delimited(path, delimiter or usual, quote, encoding)
    if delimiter is None:
        file = _found_out(file)
    _, names = next(iter(file), (0, []))
    yield from file.chunks(names, na_values)


def _found_out(file: Delimited) -> Delimited:
    """The file with another delimiter, if its header and first row do not have equally many cells with this one."""
    if _cells(file) > 1:
        return file
    others = [file.split_at(delimiter) for delimiter in DELIMITERS]
    best = max(others, key=_cells)
    if _cells(best) < 2:
        return file
    LOGGER.info("%s: read with data.options.delimiter: %s", file.path, json.dumps(best.delimiter))
    return best


def _cells(file: Delimited) -> int:
    """The number of cells of the header if the first row has as many, else 0."""
    try:
        sizes = [len(cells) for (_, cells), _ in zip(file, range(2), strict=False)]
    except DataError:
        return 0
    return sizes[0] if len(set(sizes)) == 1 else 0
