"""Text files of rows and cells: streamed by pyarrow, with Python's slower parser for the places of errors."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Self

import pyarrow as pa
import pyarrow.csv as pacsv

from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.files import CHUNK_BYTES
from ml4ir_losses.data.table import Source, Table
from ml4ir_losses.data.text_files import open_text

NA_VALUES = ("NA", "N/A", "NULL", "null", "NaN", "nan")
_WIDE = ("utf-16", "utf-32")
_BLOCK_BYTES = CHUNK_BYTES // 4  # a row must fit into a block; Arrow reads up to 32 of them ahead


@dataclass
class Delimited:
    """A text file of rows; iteration gives the line and the cells of each row that is not blank.

    Args:
        path: the file.
        delimiter: the character between cells.
        quote: the character around cells that hold delimiters or line ends; "" for files without quoting.
        encoding: a Python codec.
        has_header: True if the first row holds the names of the columns.

    Raises:
        DataError: for an unknown encoding; by iteration, for text in another encoding.
    """

    path: str
    delimiter: str
    quote: str = '"'
    encoding: str = "utf-8"
    has_header: bool = True

    def __post_init__(self) -> None:
        allowed = "the name of a Python codec, such as utf-8 or latin-1"
        try:
            "".encode(self.encoding)
            self.encoding = codecs.lookup(self.encoding).name
        except LookupError:
            raise DataError(f"data.options.encoding is {allowed}. Received: {self.encoding!r}.") from None

    def split_at(self, delimiter: str) -> Self:
        """The file with another delimiter."""
        return replace(self, delimiter=delimiter)

    def chunks(self, names: Sequence[str], na_values: Sequence[str] = NA_VALUES) -> Iterator[Table]:
        """The rows as tables; all cells are text, and an empty cell or one of `na_values` is null.

        Raises:
            DataError: no columns, two of one name, no rows, a row with a wrong number of cells, an open quote, text in
                another encoding.
        """
        self._check_names(names)
        count, last = 0, ""
        try:
            with open_text(self.path, wide=self._is_wide) as stream, self._open(stream, names, na_values) as batches:
                for batch in batches:
                    if batch.num_rows:
                        yield Table(dict(zip(names, batch.columns, strict=True)), [self._source(count, batch.num_rows)])
                        count += batch.num_rows
                        last = batch.columns[-1][-1].as_py() or ""
        except (pa.ArrowInvalid, UnicodeError) as error:
            raise self._parse_error(len(names), str(error).partition("\n")[0]) from None
        if not count:
            raise DataError(f"{self.path} has {'a header and ' if self.has_header else ''}no data rows.")
        if "\n" in last:
            self._check_last_quote(count)

    def _open(self, stream: Any, names: Sequence[str], na_values: Sequence[str]) -> pacsv.CSVStreamingReader:
        return pacsv.open_csv(
            _Utf8(stream, self.encoding),
            pacsv.ReadOptions(
                block_size=_BLOCK_BYTES,
                column_names=None if self.has_header else list(names),
            ),
            pacsv.ParseOptions(
                delimiter=self.delimiter, quote_char=self.quote or False, newlines_in_values=bool(self.quote)
            ),
            pacsv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=["", *na_values],
                strings_can_be_null=True,
            ),
        )

    def _source(self, start: int, rows: int) -> Source:
        return Source(self.path, rows, lambda row: self.line(start + row))

    @property
    def _is_wide(self) -> bool:
        return self.encoding.startswith(_WIDE)

    @property
    def _codec(self) -> str:
        return "utf-8-sig" if self.encoding == "utf-8" else self.encoding

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        quoting = csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE
        dialect: dict[str, Any] = {"delimiter": self.delimiter, "quotechar": self.quote or None, "quoting": quoting}
        line = 1
        with (
            open_text(self.path, wide=self._is_wide) as stream,
            io.TextIOWrapper(stream, self._codec, newline="") as text,
        ):
            records = csv.reader(text, **dialect)
            try:
                for cells in records:
                    if cells:
                        yield line, cells
                    line = records.line_num + 1
            except UnicodeError:
                raise self._encoding_error() from None
            except csv.Error as error:
                raise DataError(f"{self.path}, line {line}: {error}") from None

    def line(self, row: int) -> int:
        """The line on which a data row begins."""
        return next(islice(self, row + int(self.has_header), None))[0]

    def _check_names(self, names: Sequence[str]) -> None:
        if not names:
            raise DataError(f"{self.path} has no header line.")
        if len(set(names)) < len(names):
            name = max(names, key=names.count)
            where = f", line {next(iter(self))[0]}" if self.has_header else ""
            raise DataError(f"{self.path}{where}: the column {name!r} occurs {names.count(name)} times")

    def _check_last_quote(self, rows: int) -> None:
        """Raises `DataError` if the last quote is never closed: pyarrow then reads the rest of the file as one cell."""
        with open_text(self.path, wide=self._is_wide) as stream, io.TextIOWrapper(stream, self._codec) as text:
            last = [line for line in text if line.strip()][-1].rstrip()
        if (len(last) - len(last.rstrip(self.quote))) % 2 == 0:  # a doubled quote is an escaped one
            raise DataError(f"{self.path}, line {self.line(rows - 1)}: a quote is left open; {_NO_QUOTES}")

    def _parse_error(self, width: int, reason: str) -> DataError:
        """The error of a file that pyarrow cannot parse, with its line."""
        try:
            for line, cells in self:
                if len(cells) != width:
                    quoted = f"; a quote may be left open; {_NO_QUOTES}" if any("\n" in cell for cell in cells) else ""
                    expected = f"the header has {width}" if self.has_header else f"{width} are expected"
                    return DataError(f"{self.path}, line {line}: {len(cells)} cell(s), {expected}{quoted}")
        except DataError as error:
            return error
        return DataError(f"{self.path} cannot be parsed: {reason}")

    def _encoding_error(self) -> DataError:
        """The error of a file that is not in its encoding, with the first line that cannot be decoded."""
        where = self.path
        if not self._is_wide:
            with open_text(self.path) as stream:
                lines = (number for number, line in enumerate(stream, 1) if not _decodes(line, self._codec))
                where = f"{self.path}, line {next(lines, 1)}"
        advice = "for instance data.options.encoding: latin-1" if self.encoding == "utf-8" else "data.options.encoding"
        return DataError(f"{where}: the text is not {self.encoding}; give its encoding, {advice}")


_NO_QUOTES = "for a file without quoting set data.options.quote: ''"


class _Utf8(io.RawIOBase):
    """The UTF-8 text of a file, by reads that do not end between CR and LF: pyarrow would drop the LF within quotes."""

    def __init__(self, stream: Any, encoding: str) -> None:
        self.stream, self.rest = stream, b""
        is_utf8 = encoding in ("utf-8", "utf-8-sig")  # pyarrow skips a byte order mark
        self.text = None if is_utf8 else io.TextIOWrapper(stream, encoding, newline="")

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        size -= len(self.rest)
        data: bytes = self.text.read(max(size // 4, 1)).encode() if self.text else self.stream.read(size)
        data = self.rest + data
        self.rest = b"\r" if data.endswith(b"\r") and len(data) > 1 else b""
        return data[: len(data) - len(self.rest)]


def _decodes(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeError:
        return False
    return True
