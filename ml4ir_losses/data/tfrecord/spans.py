"""Many messages at once, as places in a buffer: the entries of maps, and the values of features.

A program that reads one message after another is too slow in Python. Here NumPy finds the first field of all messages,
then the second, and so on, and then parses all that were found together.

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

    def texts(self, at: Array, width: int) -> Array:
        """The bytes [places, width] from these places on."""
        if not width:
            return np.zeros((len(at), 0), np.uint8)
        windows: Array = np.ndarray(len(self.bytes) - width + 1, f"V{width}", self.bytes, strides=(1,))
        return windows[at].view(np.uint8).reshape(-1, width)

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

    def put(self, rows: Array | slice, start: Array, end: Array) -> None:
        """Sets some rows."""
        self.start[rows], self.end[rows] = start, end


@dataclass
class Map:
    """The values of each key of maps, a row per message; `odd` marks messages in another form than writers produce."""

    odd: Array
    values: dict[bytes, Spans] = field(default_factory=dict)

    def put(self, key: bytes, rows: Array, start: Array, end: Array) -> None:
        """The values of a key in some rows; rows that have the key twice are odd."""
        places = self.values[key] = Spans.absent(len(self.odd))
        places.put(rows, start, end)
        self.odd[rows[places.start[rows] != start]] = True


def read_map(buffer: Buffer, messages: Spans) -> Map:
    """The entries of maps such as `Features`: repeated {key = 1, value = 2}."""
    return read_entries(buffer, *fields_together(buffer, messages))


def read_entries(buffer: Buffer, rows: Array, entries: Spans, odd: Array) -> Map:
    """The keys and values of entries; `rows`: the message of each."""
    found = Map(odd.copy())
    odd = found.odd
    size, key = buffer.varint(entries.start + 1)
    length, value = buffer.varint(key + size + 1)
    good = (buffer.byte(entries.start) == _FIRST) & (buffer.byte(key + size) == _SECOND)
    good &= value + length == entries.end
    if not good.all():
        odd[rows[~good]] = True
        rows, size, key, value = rows[good], size[good], key[good], value[good]
    stop = entries.end if good.all() else entries.end[good]
    for width in np.unique(size).tolist():
        same = np.flatnonzero(size == width)
        names, codes = numbered(buffer.texts(key[same], width))
        codes = codes.astype(np.uint16) if len(names) < 1 << 16 else codes  # these are sorted much faster
        order = np.argsort(codes, kind="stable")
        for name, members in zip(names, np.split(order, np.flatnonzero(np.diff(codes[order])) + 1), strict=True):
            chosen = same[members]
            found.put(name, rows[chosen], value[chosen], stop[chosen])
    return found


def fields_together(buffer: Buffer, messages: Spans) -> tuple[Array, Spans, Array]:
    """The fields 1 of messages: the row of each, their places, and which rows are odd."""
    odd = np.zeros(len(messages), bool)
    rows = np.flatnonzero(messages.start < messages.end)
    at, end = messages.start[rows], messages.end[rows]
    parts = [(rows[:0], at[:0], at[:0])]
    while len(rows):
        length, start = buffer.varint(at + 1)
        stop = start + length
        good = (buffer.byte(at) == _FIRST) & (stop <= end)
        if not good.all():
            odd[rows[~good]] = True
            rows, start, stop, end = rows[good], start[good], stop[good], end[good]
        parts.append((rows, start, stop))
        going = stop < end
        rows, at, end = (rows, stop, end) if going.all() else (rows[going], stop[going], end[going])
    alike = len(parts) > 1 and all(len(part[0]) == len(parts[1][0]) for part in parts[1:])
    if alike:  # message by message, which is the order of the buffer: it is read faster so
        rows, start, stop = (np.stack(part).T.ravel() for part in zip(*parts[1:], strict=True))
    else:
        rows, start, stop = (np.concatenate(part) for part in zip(*parts, strict=True))
    return rows, Spans(start, stop), odd


def numbered(texts: Array) -> tuple[list[bytes], Array]:
    """The different texts among some of the same width, bytes [texts, width], and the number of each text."""
    width = texts.shape[1]
    if not width or not len(texts):
        return ([b""] if len(texts) else []), np.zeros(len(texts), np.int32)
    array = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(texts), [None, pa.py_buffer(texts)])
    encoded = array.dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy()


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
