"""Encoded queries on disk: one file of raw numbers per array, read some queries at a time.

Files are read by plain reads: memory maps would count as memory of the process.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.files import read_json, write_text
from ml4ir_losses.core.memory import readable_size
from ml4ir_losses.data.queries import Queries
from ml4ir_losses.data.streaming.cache import unfinished
from ml4ir_losses.data.table import places

VERSION = 1
_META, _SIZES = "store.json", "sizes.bin"
_OF_ROWS, _OF_QUERIES = ("weight", "positions", "confidence"), ("query_weight",)
_TEXT = 64  # bytes that a short text takes in memory
_SAMPLED = 32  # places from which a sample is taken
_PART = 1 << 24  # labels that are read at once

Range = tuple[int, int]
"""The queries from the first number up to the second, which is not among them."""


@dataclass(frozen=True)
class Column:
    """An array of `Queries` in a file: `part` is its attribute, `name` its key there.

    Attributes:
        dtype: of the numbers; `text`: UTF-8 bytes, and where each text ends in a second file.
        shape: of a row.
    """

    file: str
    part: str
    name: str
    dtype: str
    shape: Sequence[int] = ()

    @property
    def per_query(self) -> bool:
        """True for a value per query, False for one per document."""
        return self.part in (*_OF_QUERIES, "ids")

    @property
    def width(self) -> int:
        """The bytes of a row in memory."""
        return _TEXT if self.dtype == "text" else int(np.dtype(self.dtype).itemsize * np.prod(self.shape, dtype=int))


def _arrays(queries: Queries) -> dict[tuple[str, str], Array]:
    """The arrays of numbers by attribute and key."""
    arrays = {("features", name): values for name, values in queries.features.items()}
    arrays |= {("labels", name): values for name, values in queries.labels.items()}
    single = {part: getattr(queries, part) for part in (*_OF_ROWS, *_OF_QUERIES)}
    return arrays | {(part, ""): values for part, values in single.items() if values is not None}


class StoreWriter:
    """Writes the files of a store: see `new_store`.

    Args:
        folder: an empty folder.
        document_ids: False where ids are only the places of documents in their query, which are not stored.
    """

    def __init__(self, folder: Path, document_ids: bool = True) -> None:
        self.folder = folder
        self.rows, self.queries, self.bytes = 0, 0, 0
        self._document_ids = document_ids
        self._columns: dict[tuple[str, str], Column] = {}
        self._files: dict[str, BinaryIO] = {}
        self._text_ends: dict[str, int] = {}
        self._facts: dict[str, Any] = {}

    def append(self, queries: Queries) -> None:
        """Adds queries, which have the same arrays as those before them.

        Raises:
            DataError: when they cannot be written.
        """
        if not self._columns:
            self._facts = {"source": queries.source, "query_scope": sorted(queries.query_scope)}
        with self._writable():
            for (part, name), values in _arrays(queries).items():
                column = self._column(part, name, str(values.dtype), values.shape[1:])
                self._write(column.file, values)
            self._write_text(self._column("ids", "", "text"), queries.ids)
            if self._document_ids:
                self._write_text(self._column("document_ids", "", "text"), queries.document_ids)
            self._write(_SIZES, queries.sizes.astype(np.int64))
        self.rows += queries.rows
        self.queries += len(queries)

    def finish(self, facts: dict[str, Any]) -> None:
        """Completes the store, with further facts about it."""
        with self._writable():
            for file in self._files.values():
                file.flush()
        columns = [asdict(column) for column in self._columns.values()]
        size = {"rows": self.rows, "queries": self.queries}
        files = {name: os.path.getsize(self.folder / name) for name in self._files}
        meta = {"version": VERSION, **size, **self._facts, "columns": columns, "files": files, "facts": facts}
        write_text(self.folder / _META, json.dumps(meta))

    def close(self) -> None:
        """Closes the files."""
        for file in self._files.values():
            with suppress(OSError):  # what it had buffered does not fit on the disk, which was said before
                file.close()

    def _column(self, part: str, name: str, dtype: str, shape: Sequence[int] = ()) -> Column:
        new = Column(f"{len(self._columns)}.bin", part, name, dtype, tuple(shape))
        column = self._columns.setdefault((part, name), new)
        if (column.dtype, tuple(column.shape)) != (new.dtype, new.shape):
            raise DataError(f"{name or part}: {new.dtype} {new.shape} after {column.dtype} {column.shape}.")
        return column

    def _write(self, name: str, values: Array) -> None:
        file = self._files.get(name)
        if file is None:
            file = self._files[name] = (self.folder / name).open("wb")
        data = np.ascontiguousarray(values)
        file.write(data.reshape(-1).view(np.uint8).data)
        self.bytes += data.nbytes

    def _write_text(self, column: Column, texts: Array) -> None:
        cells = pa.array([str(text) for text in texts], pa.large_string())
        _, ends, characters = cells.buffers()
        length = np.frombuffer(ends, np.int64, len(cells) + 1)
        text = np.frombuffer(characters or b"", np.uint8, int(length[-1]))
        start = self._text_ends.get(column.file, 0)
        self._text_ends[column.file] = start + len(text)
        self._write(column.file, text)
        self._write(_ends(column.file), length[1:] + start)

    @contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(
                f"{self.folder.parent}: the encoded data cannot be written after {readable_size(self.bytes)} "
                f"({error.strerror or error}). Set data.cache to a folder with more space."
            ) from None


@contextmanager
def new_store(folder: Path, document_ids: bool = True) -> Iterator[StoreWriter]:
    """A block that writes a store beside `folder`, and moves it there at its end; an error or Ctrl-C leaves nothing.

    The block calls `finish` of the writer that it gets.

    Raises:
        DataError: when the folder cannot be written.
    """
    part = unfinished(folder)
    writer = StoreWriter(part, document_ids)
    try:
        try:
            part.mkdir(parents=True)
        except OSError as error:
            raise DataError(f"{part.parent}: cannot be written ({error.strerror}). Set data.cache.") from None
        yield writer
        writer.close()
        if not folder.exists():  # another process may have been faster
            part.rename(folder)
    finally:
        writer.close()
        shutil.rmtree(part, ignore_errors=True)


def _ends(file: str) -> str:
    return f"{file}.ends"


def _state(file: Path | int) -> tuple[int, int]:
    """Size and time of change."""
    status = os.stat(file)
    return status.st_size, status.st_mtime_ns


class QueryStore:
    """The queries of a store; numbers of documents are in memory, all else is read when it is needed.

    Args:
        folder: where `new_store` wrote it.
        window_bytes: the size of the queries that are in memory together.
        keeps: an object that lives as long as the store, such as its temporary folder.

    Attributes:
        offsets: where the rows of each query start, [Q + 1].
        sizes: the number of documents of each query, [Q].
        facts: what was given to `StoreWriter.finish`.

    Raises:
        DataError: for a damaged store.
    """

    def __init__(self, folder: Path, window_bytes: int = 1 << 30, keeps: object = None) -> None:
        self.folder, self.window_bytes, self._keeps = folder, window_bytes, keeps
        meta = read_json(folder / _META, {})
        # A file that changes while it is used may hold other numbers in the place of those that were written.
        self._states = {name: _state(path) for name in meta.get("files", {}) if (path := folder / name).is_file()}
        sizes = {name: size for name, (size, _) in self._states.items()}
        if meta.get("version") != VERSION or sizes != meta["files"]:
            raise DataError(f"{folder}: is not a complete store of encoded data; remove it.")
        self._columns = [Column(**column) for column in meta["columns"]]
        self.source: str = meta["source"]
        self.query_scope = frozenset(meta["query_scope"])
        self.facts: dict[str, Any] = meta["facts"]
        self.sizes: Array = np.fromfile(folder / _SIZES, np.int64)
        self.offsets = np.concatenate([[0], np.cumsum(self.sizes)])

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def rows(self) -> int:
        """The number of documents."""
        return int(self.offsets[-1])

    @property
    def ids(self) -> Array:
        """The ids of all queries, [Q]."""
        return self._texts("ids", [(0, len(self))])

    def nbytes(self, with_ids: bool = True) -> Array:
        """The size of each query in memory, [Q]."""
        columns = [c for c in self._columns if with_ids or c.part not in ("ids", "document_ids")]
        places = _TEXT if with_ids and not any(c.part == "document_ids" for c in columns) else 0
        row = places + sum(c.width for c in columns if not c.per_query)
        return self.sizes * row + sum(c.width for c in columns if c.per_query)

    @property
    def fits_one_window(self) -> bool:
        """True if all queries may be in memory together."""
        return int(self.nbytes().sum()) <= self.window_bytes

    def label_values(self, label: str) -> Iterator[Array]:
        """The values of a label column, some rows at a time; none where the data have no such column."""
        for column in self._columns:
            if (column.part, column.name) == ("labels", label):
                for start in range(0, self.rows, _PART):
                    yield self._read(column, [(start, min(start + _PART, self.rows))])

    def take(self, queries: Array) -> Queries:
        """The given queries, by index, with their documents."""
        return self.read([(int(query), int(query) + 1) for query in queries])

    def sample(self, nbytes: int) -> Queries:
        """Queries of about so many bytes, from evenly spread places; at most a window, and at least one query."""
        share = min(nbytes, self.window_bytes) / max(1, int(self.nbytes().sum()))
        if share >= 1:
            return self.read([(0, len(self))])
        edges = np.unique(np.linspace(0, len(self), _SAMPLED + 1).astype(int))
        count = max(1, int(share * len(self) / (len(edges) - 1)))
        return self.read([(int(first), min(int(first) + count, int(end))) for first, end in pairwise(edges)])

    def read(self, ranges: Iterable[Range], with_ids: bool = True) -> Queries:
        """The queries of ranges, one after another; `with_ids`: with the ids of queries and documents.

        Raises:
            DataError: when a file is gone, or is no longer what it was when the store was opened.
        """
        ranges = list(ranges)
        rows = [(int(self.offsets[first]), int(self.offsets[last])) for first, last in ranges]
        parts: dict[str, dict[str, Array]] = {}
        for column in self._columns:
            if column.dtype != "text":
                values = self._read(column, ranges if column.per_query else rows)
                parts.setdefault(column.part, {})[column.name] = values
        sizes = np.concatenate([self.sizes[first:last] for first, last in ranges])
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        ids = document_ids = np.empty(0, object)
        if with_ids:
            ids = self._texts("ids", ranges)
            stored = any(column.part == "document_ids" for column in self._columns)
            document_ids = self._texts("document_ids", rows) if stored else places(offsets).astype(str)
        return Queries(
            ids=ids,
            offsets=offsets,
            features=parts.get("features", {}),
            labels=parts.get("labels", {}),
            document_ids=document_ids,
            query_scope=self.query_scope,
            source=self.source,
            **{part: parts[part][""] for part in (*_OF_ROWS, *_OF_QUERIES) if part in parts},
        )

    def _read(self, column: Column, ranges: Sequence[Range]) -> Array:
        """The rows of ranges of a column of numbers."""
        count = sum(last - first for first, last in ranges)
        return self._fill(column.file, np.empty((count, *column.shape), column.dtype), ranges)

    def _fill(self, name: str, values: Array, ranges: Sequence[Range]) -> Array:
        """Fills an array [rows, ...] from ranges of rows of a file."""
        width = int(values.dtype.itemsize * np.prod(values.shape[1:], dtype=int))
        target = values.reshape(-1).view(np.uint8).data
        try:
            with (self.folder / name).open("rb", buffering=0) as file:
                if _state(file.fileno()) != self._states[name]:
                    raise OSError("the file changed while it was used")
                for first, last in ranges:
                    file.seek(first * width)
                    end = (last - first) * width
                    part, target = target[:end], target[end:]
                    while len(part):
                        count = file.readinto(part)
                        if not count:
                            raise OSError("the file is cut off")
                        part = part[count:]
        except OSError as error:
            raise DataError(
                f"{self.folder / name}: the encoded data cannot be read ({error.strerror or error}). "
                f"Remove {self.folder}: it is made again."
            ) from None
        return values

    def _texts(self, part: str, ranges: Sequence[Range]) -> Array:
        """The texts of ranges as `str` objects."""
        column = next(column for column in self._columns if column.part == part)
        found = []
        for first, last in ranges:
            before = min(first, 1)  # where the text before the range ends
            ends = self._fill(_ends(column.file), np.empty(last - first + before, np.int64), [(first - before, last)])
            ends = ends if before else np.concatenate([[0], ends])
            text = self._fill(column.file, np.empty(ends[-1] - ends[0], np.uint8), [(int(ends[0]), int(ends[-1]))])
            buffers = [None, pa.py_buffer(ends - ends[0]), pa.py_buffer(text)]
            cells = pa.Array.from_buffers(pa.large_string(), last - first, buffers)
            found.append(cells.to_numpy(zero_copy_only=False))
        return np.concatenate(found)
