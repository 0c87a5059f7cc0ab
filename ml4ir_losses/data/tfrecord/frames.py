"""The fast ways to read `Features`: documents that differ in their values alone, and features with one float.

Most files hold documents whose bytes are equal but for the values of numbers. The first of them tells where the values
lie; the others are compared with it, all bytes of a document at once, and their values are cut out as a matrix.

In other files the documents have their features in any order, as C++ writes maps. There, entries of the same size are
cut out as a matrix, whatever their keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.data.tfrecord import wire
from ml4ir_losses.data.tfrecord.spans import Buffer, Spans, Values, fields_together, numbered, read_entries, read_values

_ROWS_PER_FRAME = 128  # documents on average; with fewer, `spans.read_map` is faster
_AROUND_KEY = 12  # bytes of an entry with one float besides its key
_FEATURE, _LIST = 0x06120812, 0x040A  # the bytes before a single float: 12 08 12 06, 0A 04
_BLOCK = 512 << 10  # bytes of documents that are compared at once; they fit into the cache


@dataclass(frozen=True)
class _Frame:
    """The bytes of a message `Features` that are no values.

    Attributes:
        content: the bytes of the message, in whole words.
        mask: 1 for each bit that is no value.
        numbers: where the floats of features with one float lie, by key.
        others: kind, start and end of the values of the other features, by key; kind 0 has no values.
    """

    content: Array
    mask: Array
    numbers: dict[bytes, int]
    others: dict[bytes, tuple[int, int, int]]


def read_alike(buffer: Buffer, messages: Spans) -> dict[bytes, Values] | None:
    """The values of messages `Features`; None where the messages are too different, or in a form that needs care."""
    sizes = messages.end - messages.start
    order = np.argsort(sizes, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(sizes[order])) + 1)
    budget = 1 + len(sizes) // _ROWS_PER_FRAME
    if len(groups) > budget:
        return None
    found: dict[bytes, Values] = {}
    for rows in groups:
        while len(rows) and sizes[rows[0]]:
            budget -= 1
            frame = _frame(buffer.data[messages.start[rows[0]] : messages.end[rows[0]]]) if budget >= 0 else None
            if frame is None:
                return None
            alike, numbers = _compare(buffer, messages.start[rows], frame)
            if alike.sum() < min(len(rows), _ROWS_PER_FRAME) // 2:
                return None
            if not _put(found, rows[alike], messages.start, frame, numbers[alike]):
                return None
            rows = rows[~alike]
    return found


def _frame(data: bytes) -> _Frame | None:
    """The frame of a message; None for another form than writers produce."""
    numbers: dict[bytes, int] = {}
    others: dict[bytes, tuple[int, int, int]] = {}
    mask = np.full(-(-len(data) // 8) * 8, 0xFF, np.uint8)
    mask[len(data) :] = 0
    try:
        for number, wire_type, start, end in wire.fields(data):
            (first, _, a, b), (second, kind, value, stop) = wire.fields(data, start, end)
            if (number, wire_type, first, second, kind) != (1, 2, 1, 2, 2) or data[
                a:b
            ] in numbers.keys() | others.keys():
                return None
            if value == stop:
                others[data[a:b]] = (0, 0, 0)
                continue
            ((kind, wire_type, value, stop),) = wire.fields(data, value, stop)
            if wire_type != 2 or kind not in wire.KIND_NAMES:
                return None
            for field, wire_type, c, d in wire.fields(data, value, stop):
                if wire_type != 2 or field != 1 or (kind != wire.BYTES and d != stop):
                    return None
                mask[c:d] = 0x80 if kind == wire.INT64 else 0  # the highest bit says whether an integer goes on
                value = value if kind == wire.BYTES else c
            if kind == wire.FLOAT and stop - value == 4:
                numbers[data[a:b]] = value
            else:
                others[data[a:b]] = (kind, value, stop)
    except (wire.MalformedError, ValueError):
        return None
    content = np.frombuffer(data + bytes(len(mask) - len(data)), "<u8")
    return _Frame(content, mask.view("<u8"), numbers, others)


def _compare(buffer: Buffer, start: Array, frame: _Frame) -> tuple[Array, Array]:
    """Which messages have the frame, and the floats of all of them [messages, numbers]."""
    size = len(frame.mask) * 8
    windows: Any = np.lib.stride_tricks.sliding_window_view(buffer.bytes, size)
    places = (np.array(list(frame.numbers.values()), np.int64)[:, None] + np.arange(4)).ravel()
    alike = np.empty(len(start), bool)
    numbers = np.empty((len(start), len(frame.numbers)), "<f4")
    step = max(1, _BLOCK // max(size, 1))
    for first in range(0, len(start), step):
        chosen = slice(first, first + step)
        content = windows[start[chosen]]
        different = content.view("<u8") ^ frame.content
        different &= frame.mask
        alike[chosen] = np.bitwise_or.reduce(different, axis=1) == 0
        if len(places):
            numbers[chosen] = content.take(places, axis=1).view("<f4")
    return alike, numbers


def _put(found: dict[bytes, Values], rows: Array, start: Array, frame: _Frame, numbers: Array) -> bool:
    """Adds the values of rows with a frame; False where a feature has one float here and other values elsewhere."""
    total = len(start)
    for column, key in enumerate(frame.numbers):
        if key not in found:
            found[key] = Values.absent(total)
            found[key].numbers = np.zeros(total, np.float32)
        values = found[key]
        if values.numbers is None:
            return False
        values.kind[rows] = wire.FLOAT
        values.numbers[rows] = numbers[:, column]
    for key, (kind, first, last) in frame.others.items():
        if key not in found:
            found[key] = Values.absent(total)
        values = found[key]
        if kind and values.numbers is not None:
            return False
        values.kind[rows] = kind
        values.places.start[rows] = start[rows] + first if kind else 0
        values.places.end[rows] = start[rows] + last if kind else 0
    return True


def read_features(buffer: Buffer, messages: Spans) -> tuple[dict[bytes, Values], Array]:
    """The values of messages `Features`, and which of them are odd."""
    rows, entries, odd = fields_together(buffer, messages)
    single, others = _single_floats(buffer, rows, entries, len(messages))
    found = read_entries(buffer, rows[others], Spans(entries.start[others], entries.end[others]), odd)
    if single.keys() & found.values.keys() or any(value.odd.any() for value in single.values()):
        single, found = {}, read_entries(buffer, rows, entries, odd)
    values = {**single, **{key: read_values(buffer, places) for key, places in found.values.items()}}
    return values, np.logical_or.reduce([found.odd, *(value.odd for value in values.values())])


def _single_floats(buffer: Buffer, rows: Array, entries: Spans, total: int) -> tuple[dict[bytes, Values], Array]:
    """The features of entries with one float, and the indices of the other entries; a row with a key twice is odd."""
    found: dict[bytes, Values] = {}
    widths = entries.end - entries.start - _AROUND_KEY  # of the keys, if the entries have one float
    usual = (widths > 0) & (widths < 0x80)
    others = [np.flatnonzero(~usual)]
    for width in np.flatnonzero(np.bincount(widths[usual])).tolist():
        chosen = np.flatnonzero(widths == width)
        content = buffer.texts(entries.start[chosen], width + _AROUND_KEY)
        parts = content.view(_entry_type(width))[:, 0]
        fits = (parts["key"] == (width << 8 | 0x0A)) & (parts["feature"] == _FEATURE) & (parts["list"] == _LIST)
        if not fits.all():
            others.append(chosen[~fits])
            chosen, content, parts = chosen[fits], content[fits], parts[fits]
        keys, codes = numbered(np.ascontiguousarray(content[:, 2 : 2 + width]))
        places = codes * np.int64(total) + rows[chosen]
        numbers = np.zeros((len(keys), total), np.float32)
        kinds = np.zeros((len(keys), total), np.uint8)
        numbers.ravel()[places] = parts["value"]
        kinds.ravel()[places] = wire.FLOAT
        sizes = np.bincount(codes, minlength=len(keys))
        for i, key in enumerate(keys):
            twice = np.full(total, np.count_nonzero(kinds[i]) < sizes[i])
            found[key] = Values(kinds[i], Spans.absent(total), twice, numbers[i])
    return found, np.concatenate(others)


def _entry_type(width: int) -> Any:
    """The parts of an entry with one float whose key has this width: all bytes but the key."""
    parts = {"key": ("<u2", 0), "feature": ("<u4", 2 + width), "list": ("<u2", 6 + width), "value": ("<f4", 8 + width)}
    formats, offsets = zip(*parts.values(), strict=True)
    return np.dtype({"names": [*parts], "formats": formats, "offsets": offsets, "itemsize": _AROUND_KEY + width})
