"""The queries and documents in the records of a block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.data.tfrecord import wire
from ml4ir_losses.data.tfrecord.frames import read_alike, read_features
from ml4ir_losses.data.tfrecord.framing import Block
from ml4ir_losses.data.tfrecord.kinds import EIE, EIE_CONTEXT, EIE_DOCUMENTS, ELWC, EXAMPLE, SEQUENCE
from ml4ir_losses.data.tfrecord.lists import read_lists, walk
from ml4ir_losses.data.tfrecord.spans import Buffer, RowError, Spans, Values, flat, read_map, rewritten, unwrapped


@dataclass
class Features:
    """The values of features: in a buffer, a row per document or per record."""

    buffer: Buffer
    values: dict[bytes, Values]


@dataclass
class Queries:
    """What the records of a block hold: features of the query and of its documents, and the record of each document."""

    context: Features | None
    documents: Features
    parents: Array


class RecordError(ValueError):
    """A record of a block that cannot be read, and why."""

    def __init__(self, record: int, reason: str) -> None:
        super().__init__(reason)
        self.record = record
        self.reason = reason


def examples(block: Block) -> Queries:
    """A document per record."""
    parents = np.arange(len(block.start))
    return Queries(None, _of_examples(Buffer(block.data), Spans(block.start, block.end), parents), parents)


def elwc(block: Block) -> Queries:
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
            raise RecordError(record, str(error)) from None
        contexts.append(context)
        counts.append(len(starts) - before)
    buffer = Buffer(b"".join(added) if len(added) > 1 else block.data)
    records = np.arange(len(contexts))
    parents = np.repeat(records, counts)
    places = Spans(*np.array(contexts, np.int64).reshape(-1, 2).T.copy())
    examples = Spans(np.array(starts, np.int64), np.array(ends, np.int64))
    return Queries(_of_examples(buffer, places, records), _of_examples(buffer, examples, parents), parents)


def eie(block: Block) -> Queries:
    """Example-in-Example: an Example whose features are serialised Examples."""
    records = np.arange(len(block.start))
    outer = _of_examples(Buffer(block.data), Spans(block.start, block.end), records)
    counts, documents = _items(outer, EIE_DOCUMENTS, records)
    parents = np.repeat(records, counts)
    given, contexts = _items(outer, EIE_CONTEXT, records)
    if (given > 1).any():
        record = int(np.argmax(given > 1))
        raise RecordError(record, f"`serialized_context` has {given[record]} values")
    places = Spans.absent(len(records))
    places.put(np.flatnonzero(given), contexts.start, contexts.end)
    return Queries(_of_examples(outer.buffer, places, records), _of_examples(outer.buffer, documents, parents), parents)


def _items(features: Features, key: bytes, records: Array) -> tuple[Array, Spans]:
    """The values of a feature of bytes, as places."""
    if key not in features.values:
        return np.zeros(len(records), np.int64), Spans.absent(0)
    values = features.values[key]
    wrong = (values.kind != wire.BYTES) & (values.kind != 0)
    found = read_lists(features.buffer, values.places)
    wrong |= found.odd
    if wrong.any():
        raise RecordError(int(wrong.argmax()), f"`{key.decode()}` is no list of serialised examples")
    return found.counts, found.items


def sequences(block: Block) -> Queries:
    """`SequenceExample`: Features context = 1; FeatureLists feature_lists = 2."""
    parts: dict[int, list[tuple[int, int]]] = {1: [], 2: []}
    added, size = [block.data], len(block.data)
    for record, (first, last) in enumerate(zip(block.start.tolist(), block.end.tolist(), strict=True)):
        try:
            found = [(number, start, end) for number, _, start, end in wire.fields(block.data, first, last)]
        except wire.MalformedError as error:
            raise RecordError(record, str(error)) from None
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
    return Queries(_of_features(buffer, context, records), documents, parents)


def _of_examples(buffer: Buffer, examples: Spans, records: Array) -> Features:
    """The features of messages `Example`; `records`: the record of each."""
    features, odd = unwrapped(buffer, examples)
    if odd.any():
        buffer, examples = _rewritten(buffer, examples, odd, lambda data: wire.submessage(data, 1), records)
        features.start, features.end = (
            np.where(odd, examples.start, features.start),
            np.where(odd, examples.end, features.end),
        )
    return _of_features(buffer, features, records)


def _of_features(buffer: Buffer, messages: Spans, records: Array) -> Features:
    """The values of messages `Features`; those in another form than writers produce are rewritten first."""
    alike = read_alike(buffer, messages)
    if alike is not None:
        return Features(buffer, alike)
    while True:
        values, odd = read_features(buffer, messages)
        if not odd.any():
            return Features(buffer, values)
        buffer, messages = _rewritten(buffer, messages, odd, wire.canonical_features, records)


def _of_lists(buffer: Buffer, messages: Spans) -> tuple[Features, Array]:
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
            return Features(buffer, values), parents
        buffer, messages = _rewritten(buffer, messages, odd, wire.canonical_lists, records)


def _rewritten(
    buffer: Buffer, messages: Spans, odd: Array, rewrite: Callable[[bytes], bytes], records: Array
) -> tuple[Buffer, Spans]:
    try:
        return rewritten(buffer, messages, odd, rewrite)
    except RowError as error:
        raise RecordError(int(records[error.row]), error.reason) from None


SPLITS = {EXAMPLE: examples, ELWC: elwc, EIE: eie, SEQUENCE: sequences}
"""The function that reads the records of a kind."""
