"""TREC files: runs and relevance judgments (qrels), read one query at a time and written line by line."""

from __future__ import annotations

import math
import os
import shutil
import sqlite3
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.files import how_to_convert, wide_encoding, write_atomically
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.data.files import COMPRESSIONS, is_url, open_binary

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Kind:
    """A kind of TREC file: the names of its fields, and which of them is the number of a document."""

    name: str
    fields: tuple[str, ...]
    number: str


RUN = Kind("run", ("query", "Q0", "document", "rank", "score", "tag"), "score")
QRELS = Kind("qrels", ("query", "0", "document", "grade"), "grade")


class TrecFile:
    """The documents of each query of a run or qrels file, with their scores or grades.

    Only the place of each query in the file is kept in memory. A file whose lines are not grouped by query is first
    sorted into a temporary database on disk, and a compressed file or one behind a URL is unpacked there.

    Args:
        path: the file.
        kind: `RUN` or `QRELS`.

    Raises:
        DataError: no such file, or a file without lines. Here for the first query, and whenever a query is read: a line
            of another form, a number that is none, a document that comes twice, each with the line number.
    """

    def __init__(self, path: str | os.PathLike[str], kind: Kind) -> None:
        self.path, self.kind = os.fspath(path), kind
        try:
            self._lines = _open(self.path)
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read ({error.strerror or error}).") from None
        if not self._lines.queries:
            raise DataError(f"{self.path}: is empty; a {kind.name} file has lines of {self._form()}.")
        self.documents(next(iter(self.queries)))  # a file of another kind is refused at once

    @property
    def queries(self) -> list[str]:
        """The ids of the queries, in the order of their first lines."""
        return [query.decode("utf-8", "replace") for query in self._lines.queries]

    def __contains__(self, query: object) -> bool:
        return isinstance(query, str) and query.encode() in self._lines.queries

    def __len__(self) -> int:
        return len(self._lines.queries)

    def documents(self, query: str) -> tuple[list[str], Array]:
        """The document ids of a query, in the order of the file, and their numbers [documents]; both may be empty."""
        names: list[str] = []
        numbers: list[float] = []
        document, number = (self.kind.fields.index(name) for name in ("document", self.kind.number))
        for line, content in self._lines.of(query.encode()):
            cells = content.split()
            if len(cells) != len(self.kind.fields):
                self._refuse(line, f"has {len(cells)} fields; a line of a {self.kind.name} file is {self._form()}")
            names.append(cells[document].decode("utf-8", "replace"))
            numbers.append(self._number(cells[number], line))
        if len(set(names)) < len(names):
            self._refuse_second(query, names)
        return names, np.array(numbers)

    def line(self, query: str, index: int) -> int:
        """The line of a query's document, by its index in `documents(query)`."""
        return next(islice(self._lines.of(query.encode()), index, None))[0]

    def _number(self, cell: bytes, line: int) -> float:
        try:
            value = float(cell)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            self._refuse(line, f"the {self.kind.number} {cell.decode('utf-8', 'replace')!r:.60} is not a finite number")
        return value

    def _refuse_second(self, query: str, names: list[str]) -> None:
        seen: set[str] = set()
        for (line, _), name in zip(self._lines.of(query.encode()), names, strict=True):
            if name in seen:
                self._refuse(line, f"document {name!r} comes a second time for query {query!r}")
            seen.add(name)

    def _refuse(self, line: int, reason: str) -> None:
        raise DataError(f"{self.path}, line {line}: {reason}.")

    def _form(self) -> str:
        return f"'{' '.join(self.kind.fields)}'"


class _Grouped:
    """A file whose lines are grouped by query: where the lines of each query start."""

    def __init__(self, path: str, folder: Any = None) -> None:
        self.path, self._folder = path, folder  # the folder lives as long as this object
        self.queries: dict[bytes, int] = {}
        self.starts, self.numbers = array("q"), array("q")
        end, current = 0, None
        with open(path, "rb") as stream:
            for number, line in enumerate(stream, start=1):
                query = line.removeprefix(_BOM).split(None, 1)[:1]
                if query and query[0] != current:
                    current = query[0]
                    if current in self.queries:
                        raise _NotGrouped
                    self.queries[current] = len(self.starts)
                    self.starts.append(end)
                    self.numbers.append(number)
                end += len(line)
        self.starts.append(end)
        self.stream = open(path, "rb")  # noqa: SIM115  closed with the object

    def of(self, query: bytes) -> Iterator[tuple[int, bytes]]:
        index = self.queries.get(query)
        if index is None:
            return iter(())
        start, end, first = self.starts[index], self.starts[index + 1], self.numbers[index]
        self.stream.seek(start)
        lines = self.stream.read(end - start).removeprefix(_BOM).split(b"\n")
        return ((number, line) for number, line in enumerate(lines, start=first) if line.strip())

    def __del__(self) -> None:
        if hasattr(self, "stream"):
            self.stream.close()


class _Sorted:
    """The lines of a file in a temporary database, found by query."""

    def __init__(self, path: str) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.base = sqlite3.connect(Path(self._folder.name, "lines.db"), isolation_level=None)
        self.base.execute("PRAGMA journal_mode = OFF")
        self.base.execute("PRAGMA synchronous = OFF")
        self.base.execute("CREATE TABLE lines (query BLOB, number INTEGER, line BLOB)")
        with open(path, "rb") as stream:
            lines = ((number, line.removeprefix(_BOM)) for number, line in enumerate(stream, start=1))
            rows = ((line.split(None, 1)[0], number, line) for number, line in lines if line.strip())
            self.base.execute("BEGIN")
            self.base.executemany("INSERT INTO lines VALUES (?, ?, ?)", rows)
            self.base.execute("COMMIT")
        self.base.execute("CREATE INDEX by_query ON lines (query)")
        found = self.base.execute("SELECT query FROM lines GROUP BY query ORDER BY MIN(number)")
        self.queries = {query: index for index, (query,) in enumerate(found)}

    def of(self, query: bytes) -> Iterator[tuple[int, bytes]]:
        return self.base.execute("SELECT number, line FROM lines WHERE query = ? ORDER BY number", (query,))

    def __del__(self) -> None:
        if hasattr(self, "base"):
            self.base.close()


class _NotGrouped(Exception):
    """The lines of a query are not adjacent."""


def _open(path: str) -> _Grouped | _Sorted:
    folder = None
    name = path
    if path.lower().endswith(COMPRESSIONS) or is_url(path):
        folder = tempfile.TemporaryDirectory()
        name = str(Path(folder.name, "lines"))
        with open_binary(path) as packed, open(name, "wb") as plain:
            shutil.copyfileobj(packed, plain)
    with open(name, "rb") as stream:
        encoding = wide_encoding(stream.read(4))
    if encoding:
        raise DataError(f"{path}: {how_to_convert(encoding)}.")
    try:
        return _Grouped(name, folder)
    except _NotGrouped:
        LOGGER.info("%s: is not sorted by query; sorted on disk first", path)
        return _Sorted(name)


def write_run(path: str | os.PathLike[str], rows: Iterable[tuple[Any, Any, int, Any]], tag: str) -> None:
    """Writes a run file from (query, document, rank, score), atomically.

    Raises:
        DataError: for an id with a space, and a file that cannot be written.
    """
    tag = "_".join(tag.split()) or "run"
    _write(path, (f"{_field(q)} Q0 {_field(d)} {rank} {score!s} {tag}\n" for q, d, rank, score in rows))


def write_qrels(path: str | os.PathLike[str], rows: Iterable[tuple[Any, Any, float]]) -> None:
    """Writes a qrels file from (query, document, grade), atomically.

    Raises:
        DataError: for an id with a space, and a file that cannot be written.
    """
    _write(path, (f"{_field(query)} 0 {_field(document)} {grade:g}\n" for query, document, grade in rows))


def _field(name: Any) -> str:
    text = str(name)
    if not text or len(text.split()) != 1 or text != text.strip():
        raise DataError(f"The id {text!r} cannot stand in a TREC file, where spaces separate the fields.")
    return text


def _write(path: str | os.PathLike[str], lines: Iterable[str]) -> None:
    def write(part: Path) -> None:
        with part.open("w", encoding="utf-8", newline="") as stream:
            stream.writelines(lines)

    write_atomically(path, write)
