"""Many messages at once, as places in a buffer: the entries of maps, and the values of features.

A program that reads one message after another is too slow in Python. Here NumPy reads the first entry of all messages,
then the second, and so on. Documents of a file mostly have the same entry at the same place, so the bytes up to its
value are compared with those of the first document; only the others are parsed.

Everything here knows the form that writers produce. What is in another form is reported as `odd`, and the caller
rewrites it (`wire.canonical_features`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.data.tfrecord import wire

_PAD = 16  # bytes after the buffer, which reads of whole words may touch
_FIRST, _SECOND, _THIRD = (
    b"\x0a\x12\x1a"  # the tags of the fields 1, 2 and 3 that hold messages, text or packed numbers
)


class Buffer:
    """Bytes that can be read at many places at once."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        padded = data + bytes(_PAD)
        self.bytes = np.frombuffer(padded, np.uint8)
        self.words: Array = np.ndarray(len(data) + _PAD - 7, "<u8", padded, strides=(1,))
        self.floats: Array = np.ndarray(len(data) + _PAD - 3, "<f4", padded, strides=(1,))

    def byte(self, at: Array) -> Array:
        """The bytes at these places; places beyond the end are allowed and read as 0."""
        return self.bytes[np.minimum(at, len(self.data))]

    def matches(self, at: Array, pattern: bytes) -> Array:
        """Where the bytes at these places are the pattern, boolean; a place may be at the end, not beyond it."""
        last = len(self.data) + _PAD - 8
        same = np.ones(len(at), bool)
        for offset in range(0, len(pattern), 8):
            part = pattern[offset : offset + 8]
            word = self.words[np.minimum(at + offset, last)]
            if len(part) < 8:
                word &= np.uint64((1 << 8 * len(part)) - 1)
            same &= word == np.uint64(int.from_bytes(part, "little"))
        return same

    def varint(self, at: Array) -> tuple[Array, Array]:
        """Lengths of messages at these places, and where they end; one of more than five bytes is too large."""
        byte = self.byte(at).astype(np.int64)
        value, after = byte & 0x7F, at + 1
        more = byte > 0x7F
        for shift in (7, 14, 21, 28):
            if not more.any():
                break
            byte = np.where(more, self.byte(after), 0).astype(np.int64)
            value |= (byte & 0x7F) << shift
            after = after + more
            more = byte > 0x7F
        return np.where(more, 1 << 40, value), after


@dataclass
class Spans:
    """Places in a buffer, [start, end) for each row; a row without the message has 0 and 0."""

    start: Array
    end: Array

    @classmethod
    def absent(cls, rows: int) -> Spans:
        """Rows without the message."""
        return cls(np.zeros(rows, np.int64), np.zeros(rows, np.int64))

    def __len__(self) -> int:
        return len(self.start)

    def put(self, rows: Array, start: Array, end: Array) -> None:
        """Sets some rows, or all."""
        if len(rows) == len(self):
            self.start, self.end = start, end
        else:
            self.start[rows], self.end[rows] = start, end


@dataclass
class Map:
    """The values of each key of maps, a row per message; `odd` marks messages in another form than writers produce."""

    odd: Array
    values: dict[bytes, Spans] = field(default_factory=dict)

    def put(self, key: bytes, rows: Array, start: Array, end: Array) -> None:
        """The values of a key in some rows; rows that have the key twice are odd."""
        if key in self.values:
            self.odd[rows[self.values[key].start[rows] > 0]] = True
        else:
            self.values[key] = Spans.absent(len(self.odd))
        self.values[key].put(rows, start, end)
        self.odd[rows[self.values[key].start[rows] != start]] = True

    def put_all(self, buffer: Buffer, entries: list[tuple[Array, ...]]) -> None:
        """The values of entries: arrays of their rows, starts of their keys and values, and ends of these."""
        rows, key, key_end, value, end = (np.concatenate(parts) for parts in zip(*entries, strict=True))
        sizes = key_end - key
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
        content = buffer.bytes[flat(key, sizes)]
        keys = pa.Array.from_buffers(pa.binary(), len(rows), [None, pa.py_buffer(offsets), pa.py_buffer(content)])
        encoded = keys.dictionary_encode()
        codes = encoded.indices.to_numpy()
        codes = codes.astype(np.uint16) if len(encoded.dictionary) < 1 << 16 else codes  # sorted much faster
        order = np.argsort(codes, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
        for name, chosen in zip(encoded.dictionary.to_pylist(), groups, strict=True):
            self.put(name, rows[chosen], value[chosen], end[chosen])


def read_map(buffer: Buffer, messages: Spans) -> Map:
    """The entries of maps such as `Features`: repeated {key = 1, value = 2}."""
    found = Map(np.zeros(len(messages), bool))
    parsed: list[tuple[Array, ...]] = []
    rows = np.flatnonzero(messages.start < messages.end)
    at, end = messages.start[rows], messages.end[rows]
    while len(rows):
        expected = _first_entry(buffer.data, int(at[0]), int(end[0]))
        if expected is None:
            found.odd[rows[0]] = True
            rows, at, end = rows[1:], at[1:], end[1:]
            continue
        key, head, size = expected
        same = buffer.matches(at, head)
        value = at + len(head)
        if same.all():
            at = at + size
            found.put(key, rows, value, at)
        else:
            found.put(key, rows[same], value[same], at[same] + size)
            others = np.flatnonzero(~same)
            at = np.where(same, at + size, at)
            entries, at[others] = _parse_entries(buffer, at[others], end[others])
            good = at[others] <= end[others]
            if good.any():
                parsed.append((rows[others][good], *(places[good] for places in entries)))
        found.odd[rows[at > end]] = True
        going = at < end
        if not going.all():
            rows, at, end = rows[going], at[going], end[going]
    if parsed:
        found.put_all(buffer, parsed)
    return found


def _first_entry(data: bytes, at: int, end: int) -> tuple[bytes, bytes, int] | None:
    """Key of an entry, its bytes up to the value, and its size; None for another form than writers produce."""
    try:
        (number, wire_type, start, stop), *_ = wire.fields(data, at, end)
        (first, _, a, b), (second, kind, value, last) = wire.fields(data, start, stop)
    except (wire.MalformedError, ValueError):
        return None
    if (number, wire_type, first, second, kind) != (1, 2, 1, 2, 2):
        return None
    return data[a:b], data[at:value], last - at


def _parse_entries(buffer: Buffer, at: Array, end: Array) -> tuple[tuple[Array, ...], Array]:
    """Start and end of the key and of the value of entries, and where they end.

    Entries in another form than writers produce end beyond `end`.
    """
    length, start = buffer.varint(at + 1)
    stop = start + length
    key_length, key = buffer.varint(start + 1)
    key_end = key + key_length
    value_length, value = buffer.varint(key_end + 1)
    good = (buffer.byte(at) == _FIRST) & (buffer.byte(start) == _FIRST) & (stop <= end)
    good &= (buffer.byte(key_end) == _SECOND) & (value + value_length == stop)
    return (key, key_end, value, stop), np.where(good, stop, end + 1)


@dataclass
class Values:
    """The values of a feature, a row per message.

    Attributes:
        kind: the kind of each row, 0 for none.
        places: where the values lie; numbers are packed there, a `bytes_list` has its repeated fields.
        odd: rows in another form than writers produce.
        numbers: the values themselves where each row has one float or none; `places` are not set then.
    """

    kind: Array
    places: Spans
    odd: Array
    numbers: Array | None = None

    @classmethod
    def absent(cls, rows: int) -> Values:
        """Rows without the feature."""
        return cls(np.zeros(rows, np.uint8), Spans.absent(rows), np.zeros(rows, bool))


def read_values(buffer: Buffer, features: Spans) -> Values:
    """The values of messages `Feature`."""
    start, end = features.start, features.end
    rows = len(features)
    found = Values.absent(rows)
    given = np.flatnonzero(start < end)
    if not len(given):
        return found
    if len(given) < rows:
        start, end = start[given], end[given]
    kind, head = _first_head(buffer.data, int(start[0]), int(end[0]))
    same = (end - start == end[0] - start[0]) & buffer.matches(start, head) if head else np.zeros(len(start), bool)
    if same.all():
        found.places.put(given, start + len(head), end)
        found.kind[given] = kind
        return found
    tag = buffer.byte(start)
    length, values = buffer.varint(start + 1)
    good = ((tag == _FIRST) | (tag == _SECOND) | (tag == _THIRD)) & (values + length == end)
    packed = good & (tag != _FIRST) & (length > 0)
    size, numbers = buffer.varint(values + 1)
    good &= ~packed | ((buffer.byte(values) == _FIRST) & (numbers + size == end))
    found.places.put(given, np.where(packed, numbers, values), end)
    found.kind[given] = np.where(good, tag >> 3, 0)
    found.odd[given] = ~good
    return found


def _first_head(data: bytes, at: int, end: int) -> tuple[int, bytes]:
    """Kind of a feature of packed numbers, and its bytes up to the numbers; (0, b"") for any other."""
    try:
        ((kind, _, start, stop),) = wire.fields(data, at, end)
        ((number, packed, first, _),) = wire.fields(data, start, stop)
    except (wire.MalformedError, ValueError):
        return 0, b""
    return (kind, data[at:first]) if kind in (wire.FLOAT, wire.INT64) and (number, packed) == (1, 2) else (0, b"")


def read_lists(buffer: Buffer, lists: Spans) -> tuple[Array, Spans, Array]:
    """The items of messages `FeatureList`: their numbers, the features one after another, and which lists are odd."""
    start, end = lists.start, lists.end
    given = np.flatnonzero(start < end)
    if not len(given):
        return np.zeros(len(lists), np.int64), Spans.absent(0), np.zeros(len(lists), bool)
    first = int(start[given[0]])
    try:
        _, _, content, stop = next(wire.fields(buffer.data, first, int(end[given[0]])))
    except wire.MalformedError:
        return _read_each_list(buffer, lists)
    size = stop - first
    counts = (end - start) // size
    if (counts * size == end - start).all():
        items = flat(start, counts, size)
        if buffer.data[first] == _FIRST and buffer.matches(items, buffer.data[first:content]).all():
            return counts, Spans(items + (content - first), items + size), np.zeros(len(lists), bool)
    return _read_each_list(buffer, lists)


def _read_each_list(buffer: Buffer, lists: Spans) -> tuple[Array, Spans, Array]:
    """`read_lists` for items of different sizes."""
    starts: list[int] = []
    ends: list[int] = []
    counts, odd = np.zeros(len(lists), np.int64), np.zeros(len(lists), bool)
    for row, (at, end) in enumerate(zip(lists.start.tolist(), lists.end.tolist(), strict=True)):
        before = len(starts)
        try:
            odd[row] = walk(buffer.data, at, end, starts, ends) != end
        except wire.MalformedError:
            odd[row] = True
        counts[row] = len(starts) - before
    return counts, Spans(np.array(starts, np.int64), np.array(ends, np.int64)), odd


def walk(data: bytes, at: int, end: int, starts: list[int], ends: list[int]) -> int:
    """Adds the messages of field 1 up to the first other field; returns where that is."""
    while at + 1 < end and data[at] == _FIRST:
        length, start = data[at + 1], at + 2
        if length > 0x7F:
            length, start = wire.read_varint(data, at + 1, end)
        if start + length > end:
            raise wire.MalformedError("a field runs over the end of its message")
        at = start + length
        starts.append(start)
        ends.append(at)
    return at


def unwrapped(buffer: Buffer, examples: Spans) -> tuple[Spans, Array]:
    """The `Features` of messages `Example`, and which examples are odd."""
    length, start = buffer.varint(examples.start + 1)
    given = examples.start < examples.end
    odd = given & ((buffer.byte(examples.start) != _FIRST) | (start + length != examples.end))
    return Spans(np.where(given, start, 0), np.where(given, examples.end, 0)), odd


def rewritten(buffer: Buffer, messages: Spans, odd: Array, rewrite: Callable[[bytes], bytes]) -> tuple[Buffer, Spans]:
    """Messages of which the odd ones are rewritten, in a longer buffer.

    Raises:
        RowError: for bytes that are no such message.
    """
    start, end = messages.start.copy(), messages.end.copy()
    parts, size = [buffer.data], len(buffer.data)
    for row in np.flatnonzero(odd).tolist():
        try:
            content = rewrite(buffer.data[start[row] : end[row]])
        except wire.MalformedError as error:
            raise RowError(row, str(error)) from None
        parts.append(content)
        start[row], end[row] = size, size + len(content)
        size += len(content)
    return Buffer(b"".join(parts)), Spans(start, end)


class RowError(ValueError):
    """A row that cannot be read, and why."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(reason)
        self.row = row
        self.reason = reason


def flat(start: Array, counts: Array, size: int = 1) -> Array:
    """The places start, start + size, ... of each row, `counts` of them, one row after another."""
    before = np.cumsum(counts) - counts
    steps = np.arange(int(counts.sum()))
    return np.repeat(start - size * before, counts) + size * steps
