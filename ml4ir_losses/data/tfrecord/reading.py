"""Tables of the records of a TFRecord file: a row per document."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.data.nested import QUERY
from ml4ir_losses.data.table import Source, Table
from ml4ir_losses.data.tfrecord import wire
from ml4ir_losses.data.tfrecord.features import Columns
from ml4ir_losses.data.tfrecord.frames import read_alike, read_features
from ml4ir_losses.data.tfrecord.framing import Block, read_blocks
from ml4ir_losses.data.tfrecord.kinds import (
    EIE,
    EIE_CONTEXT,
    EIE_DOCUMENTS,
    ELWC,
    EXAMPLE,
    SEQUENCE,
    kind_of,
    possible_kinds,
)
from ml4ir_losses.data.tfrecord.lists import read_lists, walk
from ml4ir_losses.data.tfrecord.spans import (
    Buffer,
    RowError,
    Spans,
    Values,
    flat,
    read_map,
    rewritten,
    unwrapped,
)

_QUERY_IDS = {QUERY, "qid"}
_NUMBERS = re.compile(rb"(\d+)")


@dataclass
class _Features:
    """The values of features: in a buffer, a row per document or per record."""

    buffer: Buffer
    values: dict[bytes, Values]


@dataclass
class _Queries:
    """What the records of a block hold: features of the query and of its documents, and the record of each document."""

    context: _Features | None
    documents: _Features
    parents: Array


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
        self.split = {EXAMPLE: _examples, ELWC: _elwc, EIE: _eie, SEQUENCE: _sequences}[kind]
        self.columns = {scope: Columns(lists) for scope in ("context", "documents")}
        self.rows = self.empty = 0
        self.shared: set[str] = set()

    def table(self, block: Block) -> Table | None:
        """The documents of a block; None where there is none."""
        try:
            queries = self.split(block)
        except _RecordError as error:
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

    def _read(self, scope: str, features: _Features | None, numbers: Array) -> dict[str, Any]:
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


class _RecordError(ValueError):
    """A record of a block that cannot be read, and why."""

    def __init__(self, record: int, reason: str) -> None:
        super().__init__(reason)
        self.record = record
        self.reason = reason


def _examples(block: Block) -> _Queries:
    """A document per record."""
    parents = np.arange(len(block.start))
    return _Queries(None, _of_examples(Buffer(block.data), Spans(block.start, block.end), parents), parents)


def _elwc(block: Block) -> _Queries:
    """`ExampleListWithContext`: repeated Example examples = 1; Example context = 2."""
    starts: list[int] = []
    ends: list[int] = []
    counts, contexts = [], []
    added, size = [block.data], len(block.data)
    for record, (first, last) in enumerate(zip(block.start.tolist(), block.end.tolist(), strict=True)):
        context = (0, 0)
        try:
            before = len(starts)
            rest = walk(block.data, first, last, starts, ends)
            for number, wire_type, start, end in wire.fields(block.data, rest, last):
                if wire_type == 2 and number == 1:
                    starts.append(start)
                    ends.append(end)
                elif wire_type == 2 and number == 2 and context == (0, 0):
                    context = (start, end)
                elif wire_type == 2 and number == 2:  # a message in two parts
                    added.append(wire.submessage(block.data[first:last], 2))
                    context = (size, size + len(added[-1]))
                    size += len(added[-1])
        except wire.MalformedError as error:
            raise _RecordError(record, str(error)) from None
        contexts.append(context)
        counts.append(len(starts) - before)
    buffer = Buffer(b"".join(added) if len(added) > 1 else block.data)
    records = np.arange(len(contexts))
    parents = np.repeat(records, counts)
    places = Spans(*np.array(contexts, np.int64).reshape(-1, 2).T.copy())
    examples = Spans(np.array(starts, np.int64), np.array(ends, np.int64))
    return _Queries(_of_examples(buffer, places, records), _of_examples(buffer, examples, parents), parents)


def _eie(block: Block) -> _Queries:
    """Example-in-Example: an Example whose features are serialised Examples."""
    records = np.arange(len(block.start))
    outer = _of_examples(Buffer(block.data), Spans(block.start, block.end), records)
    counts, documents = _items(outer, EIE_DOCUMENTS, records)
    parents = np.repeat(records, counts)
    given, contexts = _items(outer, EIE_CONTEXT, records)
    if (given > 1).any():
        record = int(np.argmax(given > 1))
        raise _RecordError(record, f"`serialized_context` has {given[record]} values")
    places = Spans.absent(len(records))
    places.put(np.flatnonzero(given), contexts.start, contexts.end)
    return _Queries(
        _of_examples(outer.buffer, places, records), _of_examples(outer.buffer, documents, parents), parents
    )


def _items(features: _Features, key: bytes, records: Array) -> tuple[Array, Spans]:
    """The values of a feature of bytes, as places."""
    if key not in features.values:
        return np.zeros(len(records), np.int64), Spans.absent(0)
    values = features.values[key]
    wrong = (values.kind != wire.BYTES) & (values.kind != 0)
    found = read_lists(features.buffer, values.places)
    wrong |= found.odd
    if wrong.any():
        raise _RecordError(int(wrong.argmax()), f"`{key.decode()}` is no list of serialised examples")
    return found.counts, found.items


def _sequences(block: Block) -> _Queries:
    """`SequenceExample`: Features context = 1; FeatureLists feature_lists = 2."""
    parts: dict[int, list[tuple[int, int]]] = {1: [], 2: []}
    added, size = [block.data], len(block.data)
    for record, (first, last) in enumerate(zip(block.start.tolist(), block.end.tolist(), strict=True)):
        try:
            found = [(number, start, end) for number, _, start, end in wire.fields(block.data, first, last)]
        except wire.MalformedError as error:
            raise _RecordError(record, str(error)) from None
        for number, places in parts.items():
            several = [(start, end) for field, start, end in found if field == number]
            if len(several) > 1:  # a message in two parts
                added.append(b"".join(block.data[start:end] for start, end in several))
                several = [(size, size + len(added[-1]))]
                size += len(added[-1])
            places.append(several[0] if several else (0, 0))
    buffer = Buffer(b"".join(added) if len(added) > 1 else block.data)
    context, lists = (Spans(*np.array(places, np.int64).T.copy()) for places in parts.values())
    records = np.arange(len(context))
    documents, parents = _of_lists(buffer, lists)
    return _Queries(_of_features(buffer, context, records), documents, parents)


def _of_examples(buffer: Buffer, examples: Spans, records: Array) -> _Features:
    """The features of messages `Example`; `records`: the record of each."""
    features, odd = unwrapped(buffer, examples)
    if odd.any():
        buffer, examples = _rewritten(buffer, examples, odd, lambda data: wire.submessage(data, 1), records)
        features.start, features.end = (
            np.where(odd, examples.start, features.start),
            np.where(odd, examples.end, features.end),
        )
    return _of_features(buffer, features, records)


def _of_features(buffer: Buffer, messages: Spans, records: Array) -> _Features:
    """The values of messages `Features`; those in another form than writers produce are rewritten first."""
    alike = read_alike(buffer, messages)
    if alike is not None:
        return _Features(buffer, alike)
    while True:
        values, odd = read_features(buffer, messages)
        if not odd.any():
            return _Features(buffer, values)
        buffer, messages = _rewritten(buffer, messages, odd, wire.canonical_features, records)


def _of_lists(buffer: Buffer, messages: Spans) -> tuple[_Features, Array]:
    """The features of the documents in messages `FeatureLists`, and the record of each document.

    A query has as many documents as its longest list; the last ones lack the features with shorter lists.
    """
    records = np.arange(len(messages))
    while True:
        found = read_map(buffer, messages)
        lists = {key: read_lists(buffer, places) for key, places in found.values.items()}
        odd = np.logical_or.reduce([found.odd, *(one.odd for one in lists.values())])
        sizes = np.max([np.zeros(len(messages), np.int64), *(one.counts for one in lists.values())], axis=0)
        parents = np.repeat(records, sizes)
        first = np.cumsum(sizes) - sizes
        values = {}
        for key, one in lists.items():
            documents = slice(None) if (one.counts == sizes).all() else flat(first, one.counts)
            values[key] = one.values(buffer, len(parents), documents)
            odd[parents[values[key].odd]] = True
        if not odd.any():
            return _Features(buffer, values), parents
        buffer, messages = _rewritten(buffer, messages, odd, wire.canonical_lists, records)


def _rewritten(
    buffer: Buffer, messages: Spans, odd: Array, rewrite: Callable[[bytes], bytes], records: Array
) -> tuple[Buffer, Spans]:
    try:
        return rewritten(buffer, messages, odd, rewrite)
    except RowError as error:
        raise _RecordError(int(records[error.row]), error.reason) from None


def _in_order(key: bytes) -> list[tuple[int, int, bytes]]:
    """Sorts names by their letters and numbers: f2 before f10."""
    return [(1, int(part), b"") if part.isdigit() else (0, 0, part) for part in _NUMBERS.split(key)]
