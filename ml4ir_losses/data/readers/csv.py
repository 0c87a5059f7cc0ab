"""The reader `csv`: files with a header line, parsed by pyarrow."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from io import TextIOWrapper
from itertools import islice
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.csv as pacsv
from annotated_types import Len, MaxLen

from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.parameters import Allowed
from ml4ir_losses.core.registry import register_reader
from ml4ir_losses.data.files import without_compression
from ml4ir_losses.data.table import Source, Table
from ml4ir_losses.data.text_files import open_text

Character = Annotated[str, Len(1, 1), Allowed("one character")]
CharacterOrNone = Annotated[str, MaxLen(1), Allowed('one character or ""')]
_BLOCK = 16 << 20  # bytes; a CSV row must fit
_WIDE = ("utf-16", "utf-32")


@register_reader("csv", aliases=("tsv",), endings=(".csv", ".tsv"))
def read_csv(
    path: str, *, delimiter: Character | None = None, quote: CharacterOrNone = '"', encoding: str = "utf-8"
) -> Table:
    """CSV with a header line; cells are read as text, and converted where numbers are needed.

    Args:
        path: the file.
        delimiter: one character; None: a tab for `.tsv`, else a comma.
        quote: the character around cells that hold delimiters or line ends; "" for files without quoting.
        encoding: the text encoding of the file, a Python codec.

    Raises:
        DataError: no rows, a duplicate column name, a line with a wrong number of cells, text in another encoding.
    """
    delimiter = delimiter or ("\t" if without_compression(path).endswith(".tsv") else ",")
    try:
        encoding = codecs.lookup(encoding).name
    except LookupError:
        raise DataError(
            f"encoding is the name of a Python codec, such as utf-8 or latin-1. Received: {encoding!r}."
        ) from None
    records = _CsvRecords(path, delimiter, quote, encoding)
    header = records.header()
    try:
        with open_text(path, wide=encoding.startswith(_WIDE)) as stream:
            table = pacsv.read_csv(
                stream,
                pacsv.ReadOptions(block_size=_BLOCK, encoding=encoding),
                pacsv.ParseOptions(delimiter=delimiter, quote_char=quote or False, newlines_in_values=bool(quote)),
                pacsv.ConvertOptions(column_types=dict.fromkeys(header, pa.string())),
            )
    except DataError:
        raise
    except (pa.ArrowInvalid, UnicodeError) as error:
        raise records.parse_error(len(header), str(error).partition("\n")[0]) from None
    if not table.num_rows:
        raise DataError(f"{path} has a header and no data rows.")
    if "\n" in table.columns[-1][-1].as_py():
        records.check_last_quote(table.num_rows)
    source = Source(path, table.num_rows, records.line)
    return Table(dict(zip(header, table.columns, strict=True)), [source])


class _CsvRecords:
    """A CSV file read by Python's slower parser, for the header and for the line numbers of messages."""

    def __init__(self, path: str, delimiter: str, quote: str, encoding: str) -> None:
        self.path = path
        self.codec = "utf-8-sig" if encoding == "utf-8" else encoding
        self.wide = encoding.startswith(_WIDE)
        quoting = csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
        self.dialect: dict[str, Any] = {"delimiter": delimiter, "quotechar": quote or None, "quoting": quoting}

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        """The first line and the cells of each record that is not blank."""
        line = 1
        with open_text(self.path, wide=self.wide) as stream, TextIOWrapper(stream, self.codec, newline="") as text:
            records = csv.reader(text, **self.dialect)
            try:
                for cells in records:
                    if cells:
                        yield line, cells
                    line = records.line_num + 1
            except UnicodeError:
                where = self.path if self.wide else f"{self.path}, line {_undecodable(self.path, self.codec)}"
                raise DataError(f"{where}: the text is not {self.codec.removesuffix('-sig')}; set `encoding`") from None
            except csv.Error as error:
                raise DataError(f"{self.path}, line {line}: {error}") from None

    def header(self) -> list[str]:
        """The column names."""
        line, names = next(iter(self), (0, []))
        if not names:
            raise DataError(f"{self.path} has no header line.")
        if len(set(names)) < len(names):
            name = max(names, key=names.count)
            raise DataError(f"{self.path}, line {line}: the column {name!r} occurs {names.count(name)} times")
        return names

    def line(self, row: int) -> int:
        """The line on which a data row begins."""
        return next(islice(self, row + 1, None))[0]

    def check_last_quote(self, rows: int) -> None:
        """Raises `DataError` if the last quote is never closed: pyarrow then reads the rest of the file as one cell."""
        with open_text(self.path, wide=self.wide) as stream, TextIOWrapper(stream, self.codec) as text:
            last = [line for line in text if line.strip()][-1].rstrip()
        if (len(last) - len(last.rstrip(self.dialect["quotechar"]))) % 2 == 0:  # a doubled quote is an escaped one
            raise DataError(f"{self.path}, line {self.line(rows - 1)}: a quote is left open")

    def parse_error(self, width: int, reason: str) -> DataError:
        """The error of a file that pyarrow cannot parse, with its line."""
        try:
            for line, cells in self:
                if len(cells) != width:
                    quoted = "; a quote may be left open" if any("\n" in cell for cell in cells) else ""
                    return DataError(f"{self.path}, line {line}: {len(cells)} cell(s), the header has {width}{quoted}")
        except DataError as error:
            return error
        return DataError(f"{self.path} cannot be parsed: {reason}")


def _undecodable(path: str, encoding: str) -> int:
    """The number of the first line that cannot be decoded."""
    with open_text(path) as stream:
        for number, line in enumerate(stream, 1):
            try:
                line.decode(encoding)
            except UnicodeError:
                return number
    return 1
