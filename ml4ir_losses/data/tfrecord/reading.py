"""Tables of the records of a TFRecord file: a row per document."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.data.nested import QUERY
from ml4ir_losses.data.table import Source, Table
from ml4ir_losses.data.tfrecord.features import Columns
from ml4ir_losses.data.tfrecord.framing import Block, read_blocks
from ml4ir_losses.data.tfrecord.kinds import EIE, EXAMPLE, kind_of, possible_kinds
from ml4ir_losses.data.tfrecord.queries import SPLITS, Features, RecordError
from ml4ir_losses.data.tfrecord.spans import RowError

_QUERY_IDS = {QUERY, "qid"}
_NUMBERS = re.compile(rb"(\d+)")


def read_tables(path: str, kind: str | None, lists: Collection[str]) -> Iterator[Table]:
    """The documents of a file, a table per block of records."""
    blocks = read_blocks(path)
    first = next(blocks, None)
    if first is None:
        raise DataError(f"{path} has no records.")
    reader = _Reader(path, _checked_kind(path, kind, first), lists)
    for block in chain([first], blocks):
        table = reader.table(block)
        if table is not None:
            yield table
    if not reader.rows:
        raise DataError(f"{path} has no documents.")
    if reader.empty:
        LOGGER.info(
            "%s: %d of its records %s no documents.", path, reader.empty, "has" if reader.empty == 1 else "have"
        )


def _checked_kind(path: str, kind: str | None, block: Block) -> str:
    """The kind of a file's records, found out from the first where it is not given."""
    records = (block.data[a:b] for a, b in zip(block.start.tolist(), block.end.tolist(), strict=True))
    if kind is None:
        found, told = kind_of(records)
        if found is None:
            raise DataError(f"{path}, record 1: it is no tf.Example, no SequenceExample and no ExampleListWithContext.")
        if not told:
            LOGGER.info("%s: its first record does not tell the kind; read as %s (data.options.kind).", path, found)
        return found
    possible = possible_kinds(next(records))
    if possible and kind not in possible and (kind, EIE) != (EXAMPLE, *possible):
        raise DataError(f"{path}, record 1: it is of the kind {possible[0]}, not {kind} (data.options.kind).")
    return kind


class _Reader:
    """Makes tables of the blocks of a file; a feature keeps its type, and is null in a block without it."""

    def __init__(self, path: str, kind: str, lists: Collection[str]) -> None:
        self.path, self.kind = path, kind
        self.split = SPLITS[kind]
        self.columns = {scope: Columns(lists) for scope in ("context", "documents")}
        self.rows = self.empty = 0
        self.shared: set[str] = set()

    def table(self, block: Block) -> Table | None:
        """The documents of a block; None where there is none."""
        try:
            queries = self.split(block)
        except RecordError as error:
            raise DataError(f"{self.path}, record {block.first + error.record}: {error.reason}.") from None
        parents = queries.parents
        self.empty += len(block.start) - len(np.unique(parents))
        self.rows += len(parents)
        if not len(parents):
            return None
        numbers = block.first + parents
        records = np.arange(len(block.start)) + block.first
        context = self._read("context", queries.context, records)
        take = pa.array(parents)
        columns = {name: cells.take(take) for name, cells in context.items()}
        documents = self._read("documents", queries.documents, numbers)
        for name in documents.keys() & columns.keys() - self.shared:
            self.shared.add(name)
            LOGGER.warning(
                "%s: %r is a feature of queries and of documents; that of the query is read.", self.path, name
            )
        columns = {**columns, **{name: cells for name, cells in documents.items() if name not in columns}}
        if not columns.keys() & _QUERY_IDS and self.kind != EXAMPLE:
            ids = pa.array([f"{self.path}:{record}" for record in records.tolist()])
            columns = {QUERY: ids.take(take), **columns}
        source = Source(self.path, len(numbers), lambda row: int(numbers[row]), "record", documents=True)
        return Table(columns, [source])

    def _read(self, scope: str, features: Features | None, numbers: Array) -> dict[str, Any]:
        """Columns by name, with those of earlier blocks; `numbers`: the record of each row."""
        columns = self.columns[scope]
        read = dict.fromkeys(columns.types)
        for key, values in sorted(features.values.items(), key=lambda item: _in_order(item[0])) if features else ():
            name = key.decode("utf-8", "backslashreplace")
            try:
                read[name] = columns.column(name, features.buffer, values) if features else None
            except RowError as error:
                raise DataError(f"{self.path}, record {numbers[error.row]}: {error.reason}.") from None
        return {name: columns.missing(name, len(numbers)) if cells is None else cells for name, cells in read.items()}


def _in_order(key: bytes) -> list[tuple[int, int, bytes]]:
    """Sorts names by their letters and numbers: f2 before f10."""
    return [(1, int(part), b"") if part.isdigit() else (0, 0, part) for part in _NUMBERS.split(key)]
