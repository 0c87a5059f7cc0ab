"""Repeated fields 1 of many messages at once: the items of `FeatureList` and `BytesList`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.data.tfrecord import wire
from ml4ir_losses.data.tfrecord.spans import Buffer, Spans, Values, flat, read_values

_FIRST = 0x0A  # the tag of field 1
_FLOAT_ITEM = np.dtype({"names": ["head", "list", "value"], "formats": ["<u4", "<u2", "<f4"], "offsets": [0, 4, 6]})
_FLOAT_HEAD, _FLOAT_LIST = 0x0612080A, 0x040A  # the bytes 0A 08 12 06, 0A 04


@dataclass
class Lists:
    """The items of repeated fields 1, such as those of `FeatureList` and `BytesList`.

    Attributes:
        counts: the number of items of each row.
        items: their places, one row after another.
        odd: rows in another form than writers produce.
        floats: where all items are features with one float, these.
    """

    counts: Array
    items: Spans
    odd: Array
    floats: Array | None = None

    def values(self, buffer: Buffer, total: int, rows: Array | slice) -> Values:
        """The values of the items, which are features, in some of `total` rows."""
        if self.floats is None:
            places = Spans.absent(total)
            places.put(rows, self.items.start, self.items.end)
            return read_values(buffer, places)
        values = Values.absent(total)
        values.numbers = np.zeros(total, np.float32)
        values.numbers[rows] = self.floats
        values.kind[rows] = wire.FLOAT
        return values


def read_lists(buffer: Buffer, lists: Spans) -> Lists:
    """The items of lists."""
    start, end = lists.start, lists.end
    given = np.flatnonzero(start < end)
    none = np.zeros(len(lists), bool)
    if not len(given):
        return Lists(np.zeros(len(lists), np.int64), Spans.absent(0), none)
    first = int(start[given[0]])
    try:
        _, _, content, stop = next(wire.fields(buffer.data, first, int(end[given[0]])))
    except wire.MalformedError:
        return _read_each_list(buffer, lists)
    size, head = stop - first, buffer.data[first:content]
    counts = (end - start) // size
    if (counts * size != end - start).any() or head[0] != _FIRST:
        return _read_each_list(buffer, lists)
    items = flat(start, counts, size)
    places = Spans(items + len(head), items + size)
    if size == _FLOAT_ITEM.itemsize:
        parts = buffer.texts(items, size).view(_FLOAT_ITEM)[:, 0]
        if ((parts["head"] == _FLOAT_HEAD) & (parts["list"] == _FLOAT_LIST)).all():
            return Lists(counts, places, none, parts["value"])
    if buffer.matches(items, head).all():
        return Lists(counts, places, none)
    return _read_each_list(buffer, lists)


def _read_each_list(buffer: Buffer, lists: Spans) -> Lists:
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
    return Lists(counts, Spans(np.array(starts, np.int64), np.array(ends, np.int64)), odd)


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
