"""Readers: files to `Table`s, one function per format under its registry key."""

from __future__ import annotations

import codecs
import csv
import glob
import gzip
import os
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.registry import READERS, register_reader
from ml4ir_losses.data.table import Source, Table

ENDINGS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".letor": "svmlight",
    ".libsvm": "svmlight",
    ".svm": "svmlight",
    ".svmlight": "svmlight",
    ".txt": "svmlight",
}
"""The format of a file by its ending; `.gz` may follow."""

MAX_FEATURE = 100_000
_DOCUMENT_ID = re.compile(rb"\bdoc_?id\s*=\s*(\S+)", re.IGNORECASE)
_BOM = b"\xef\xbb\xbf"
_BLOCK = 16 << 20  # bytes; a CSV row must fit
_WIDE = ("utf-16", "utf-32")


def read_table(
    spec: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], format: str | None = None, **options: Any
) -> Table:
    """The rows of a file, of all files of a glob (sorted by name), or of a list of these (in its order).

    Args:
        spec: a path, a glob or a list of them.
        format: the key of a reader; None: by the ending of each file.
        **options: parameters of the reader.

    Raises:
        UserError: unknown format or option.
        DataError: no such file, a format that the ending does not tell, or content that cannot be read.
    """
    tables = []
    for path in _expand(spec):
        entry = READERS[format or _guess_format(path)]
        entry.check_parameters(READERS.kind, options)
        tables.append(entry.target(path, **options))
    return Table.concat(tables)


@register_reader("svmlight", aliases=("letor", "libsvm"))
def read_svmlight(path: str) -> Table:
    """svmlight/LETOR lines `label qid:7 1:0.5 3:2 #docid = X`: columns label, qid, document_id, f1, f2, ...

    An absent feature is 0; `f<i>` is the index i of the file. `document_id` is there if every row names one.

    Raises:
        DataError: a malformed line, a row without `qid:`, a label or feature that is not a finite number.
    """
    from sklearn.datasets import load_svmlight_file

    lines = _SvmlightLines(path)
    with _open(path) as stream:
        lines.stream = stream
        try:
            # without query_id=True: it takes only integers, and copies the array of all ids once per row
            sparse, labels = load_svmlight_file(lines, dtype=np.float32, zero_based=True)
        except DataError:
            raise
        except (ValueError, OverflowError) as error:
            reason = _svmlight_fault(lines.body) or f"it cannot be parsed: {error}"
            raise DataError(f"{path}, line {lines.number}: {reason}") from None
    if not lines.numbers:
        raise DataError(f"{path} has no data rows.")
    _check_svmlight(path, lines, sparse, labels)
    columns: dict[str, Any] = {"label": lines.labels, "qid": lines.queries}
    if len(lines.documents) == len(lines.numbers):
        columns["document_id"] = lines.documents
    columns = {name: [cell.decode("utf-8", "backslashreplace") for cell in cells] for name, cells in columns.items()}
    numbers = np.array(lines.numbers)
    first = 0 if len(sparse.indices) and sparse.indices.min() == 0 else 1
    source = Source(path, len(numbers), lambda row: int(numbers[row]))
    return Table(columns, [source], sparse.toarray(), first)


class _SvmlightLines:
    """The data lines of a file for scikit-learn's parser, and what that leaves out: line numbers and ids."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.stream: Any = ()
        self.number = 0
        self.body = b""
        self.numbers: list[int] = []
        self.labels: list[bytes] = []
        self.queries: list[bytes] = []
        self.documents: list[bytes] = []

    def read(self) -> bytes:
        """Scikit-learn takes an object that has `read`, and iterates over it."""
        return b"".join(self)

    def __iter__(self) -> Iterator[bytes]:
        for line in self.stream:
            self.number += 1
            body, _, comment = line.removeprefix(_BOM).partition(b"#")
            parts = body.split(None, 2)
            if not parts:
                continue
            self.body = body
            query = parts[1] if len(parts) > 1 else b""
            if len(query) < 5 or not query.startswith(b"qid:"):
                raise DataError(f"{self.path}, line {self.number}: {_svmlight_fault(body)}")
            self.numbers.append(self.number)
            self.labels.append(parts[0])
            self.queries.append(query[4:])
            document = _DOCUMENT_ID.search(comment) if comment else None
            if document:
                self.documents.append(document[1])
            yield body


def _svmlight_fault(body: bytes) -> str:
    """What is wrong with a line, column by column; "" when nothing is found."""
    label, *cells = body.decode("utf-8", "backslashreplace").split()
    if not _is_number(label):
        return f"the label {_short(label)} is not a number"
    if not cells or not cells[0].startswith("qid:") or cells[0] == "qid:":
        return f"no 'qid:<id>' comes right after the label. Received: {_short(' '.join([label, *cells]))}"
    last = -1
    for cell in cells[1:]:
        index, colon, value = cell.partition(":")
        if not colon or not index.isdecimal():
            return f"{_short(cell)} is not '<feature index>:<value>'"
        if int(index) <= last:
            return f"feature {int(index)} comes after feature {last}; the indices of a line must ascend"
        if int(index) > MAX_FEATURE:
            return f"feature index {_short(index)} is above {MAX_FEATURE}"
        if not _is_number(value):
            return f"feature {index}: {_short(value)} is not a number"
        last = int(index)
    return ""


def _check_svmlight(path: str, lines: _SvmlightLines, sparse: Any, labels: Any) -> None:
    """Refuses what scikit-learn takes: labels and features that are not finite, and indices that fill the memory."""
    wrong = ~np.isfinite(labels)
    if wrong.any():
        row = int(wrong.argmax())
        label = _short(lines.labels[row].decode())
        raise DataError(f"{path}, line {lines.numbers[row]}: the label {label} is not finite")
    wrong = ~np.isfinite(sparse.data) | (sparse.indices > MAX_FEATURE)
    if wrong.any():
        at = int(wrong.argmax())
        row = int(np.searchsorted(sparse.indptr, at, side="right")) - 1
        index, value = int(sparse.indices[at]), float(sparse.data[at])
        reason = f"{value} is not finite in float32; leave out a feature that is 0 or missing"
        if np.isfinite(value):
            reason = f"the index is above {MAX_FEATURE}"
        raise DataError(f"{path}, line {lines.numbers[row]}: feature {index}: {reason}")


@register_reader("csv", aliases=("tsv",))
def read_csv(path: str, *, delimiter: str | None = None, quote: str = '"', encoding: str = "utf-8") -> Table:
    """CSV with a header line; every cell is read as text, and becomes a number where a role asks for one.

    Args:
        path: the file.
        delimiter: one character; None: a tab for `.tsv`, else a comma.
        quote: the character around cells that hold delimiters or line ends; "" for files that do not quote.
        encoding: of the text.

    Raises:
        DataError: no rows, a duplicate column name, a line with a wrong number of cells, text in another encoding.
    """
    delimiter = delimiter or ("\t" if path.lower().removesuffix(".gz").endswith(".tsv") else ",")
    if len(delimiter) != 1 or len(quote) > 1:
        raise DataError(f"delimiter and quote are one character. Received: {delimiter!r} and {quote!r}.")
    try:
        encoding = codecs.lookup(encoding).name
    except LookupError:
        raise DataError(
            f"encoding is the name of a Python codec, such as utf-8 or latin-1. Received: {encoding!r}."
        ) from None
    records = _CsvRecords(path, delimiter, quote, encoding)
    header = records.header()
    try:
        with _open(path, wide=encoding.startswith(_WIDE)) as stream:
            table = pacsv.read_csv(
                stream,
                pacsv.ReadOptions(block_size=_BLOCK, encoding=encoding),
                pacsv.ParseOptions(delimiter=delimiter, quote_char=quote or False, newlines_in_values=bool(quote)),
                pacsv.ConvertOptions(column_types=dict.fromkeys(header, pa.string())),
            )
    except DataError:
        raise
    except (pa.ArrowInvalid, UnicodeError) as error:
        raise records.fault(len(header), str(error).partition("\n")[0]) from None
    if not table.num_rows:
        raise DataError(f"{path} has a header and no data rows.")
    if "\n" in table.columns[-1][-1].as_py():
        records.check_last_quote(table.num_rows)
    source = Source(path, table.num_rows, records.line)
    return Table(dict(zip(header, table.columns, strict=True)), [source])


class _CsvRecords:
    """A slow second look at a CSV file: the header before the fast parse, and line numbers for messages after it."""

    def __init__(self, path: str, delimiter: str, quote: str, encoding: str) -> None:
        self.path = path
        self.codec = "utf-8-sig" if encoding == "utf-8" else encoding
        self.wide = encoding.startswith(_WIDE)
        quoting = csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
        self.dialect: dict[str, Any] = {"delimiter": delimiter, "quotechar": quote or None, "quoting": quoting}

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        """The first line and the cells of each record that is not blank."""
        line = 1
        with _open(self.path, wide=self.wide) as stream, TextIOWrapper(stream, self.codec, newline="") as text:
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
            raise DataError(f"{self.path}, line {line}: the column {name!r} is there {names.count(name)} times")
        return names

    def line(self, row: int) -> int:
        """The line on which a data row begins."""
        return next(islice(self, row + 1, None))[0]

    def check_last_quote(self, rows: int) -> None:
        """Raises `DataError` if the last cell has no end: an open quote swallows the rest of the file unseen."""
        with _open(self.path, wide=self.wide) as stream, TextIOWrapper(stream, self.codec) as text:
            last = [line for line in text if line.strip()][-1].rstrip()
        if (len(last) - len(last.rstrip(self.dialect["quotechar"]))) % 2 == 0:  # two of them are one in the text
            raise DataError(f"{self.path}, line {self.line(rows - 1)}: a quote is left open")

    def fault(self, width: int, reason: str) -> DataError:
        """What the fast parse stumbled over."""
        try:
            for line, cells in self:
                if len(cells) != width:
                    quoted = "; a quote may be left open" if any("\n" in cell for cell in cells) else ""
                    return DataError(f"{self.path}, line {line}: {len(cells)} cell(s), the header has {width}{quoted}")
        except DataError as error:
            return error
        return DataError(f"{self.path} cannot be parsed: {reason}")


def _undecodable(path: str, encoding: str) -> int:
    """The first line that is not text in this encoding."""
    with _open(path) as stream:
        for number, line in enumerate(stream, 1):
            try:
                line.decode(encoding)
            except UnicodeError:
                return number
    return 1


def _expand(spec: Any) -> list[str]:
    """The paths of a spec; what is no glob stays as it is, so that its reader can say what is wrong with it."""
    items = [spec] if isinstance(spec, (str, os.PathLike)) else spec
    if not isinstance(items, Sequence) or not all(isinstance(item, (str, os.PathLike)) for item in items):
        raise DataError(f"Data is given as a path, a glob or a list of these. Received: {spec!r}.")
    paths: list[str] = []
    for item in items:
        path = os.path.expanduser(os.fspath(item))
        if not glob.has_magic(path) or os.path.exists(path):
            paths.append(path)
            continue
        found = [match for match in sorted(glob.glob(path, recursive=True)) if os.path.isfile(match)]
        if not found:
            raise DataError(f"No file matches {path!r}.")
        paths += found
    return paths


def _guess_format(path: str) -> str:
    ending = os.path.splitext(path.lower().removesuffix(".gz"))[1]
    if ending in ENDINGS:
        return ENDINGS[ending]
    formats = ", ".join(sorted(entry.key for entry in READERS))
    raise DataError(f"The ending of {path!r} does not tell its data format. Set `format` to one of {formats}.")


@contextmanager
def _open(path: str, *, wide: bool = False) -> Iterator[Any]:
    """The bytes of a text file, unzipped; `wide`: its characters may hold zero bytes.

    Raises:
        DataError: no such file, a directory, an empty, binary, damaged or forbidden file.
    """
    if os.path.isdir(path):
        raise DataError(f"{path} is a directory; name its files, for instance {os.path.join(path, '*.csv')!r}.")
    if not os.path.exists(path):
        raise DataError(f"{path} does not exist.")
    try:
        with gzip.open(path) if path.lower().endswith(".gz") else open(path, "rb") as stream:
            head = stream.peek(1)
            if not head or (b"\0" in head and not wide):
                raise DataError(f"{path} is {'a binary file, not text' if head else 'empty'}.")
            yield stream
    except (OSError, EOFError, zlib.error) as error:  # the latter two: damaged gzip files
        raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:60]}...")


def read_data(data: str, format: str | None, options: Mapping[str, Any]) -> Table:
    """A file in the format of a config; after a run on synthetic data also a file, whose ending says its format."""
    if format == "synthetic" and Path(data.lower().removesuffix(".gz")).suffix in ENDINGS:
        return read_table(data)
    return read_table(data, format, **options)
