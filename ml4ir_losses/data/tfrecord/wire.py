"""Protobuf's wire format, one message at a time: whatever a parser of `tf.Example` must accept.

The readers of many messages at once, `spans` and `features`, know the form that writers produce, and leave any other to
`canonical_features` and `canonical_lists`, which rewrite it in that form.

Format: https://protobuf.dev/programming-guides/encoding and TensorFlow's `tensorflow/core/example/feature.proto`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any

BYTES, FLOAT, INT64 = 1, 2, 3
"""The kinds of a feature: the numbers of its fields `bytes_list`, `float_list`, `int64_list`."""

KIND_NAMES = {BYTES: "bytes_list", FLOAT: "float_list", INT64: "int64_list"}
_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5  # wire types

Feature = tuple[int, list[Any]]
"""The kind of a feature, 0 where it has none, and its values."""


class MalformedError(ValueError):
    """Bytes that are no such message."""


def read_varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """An integer of variable length, and where it ends."""
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise MalformedError("an integer runs over its end")


def fields(data: bytes, at: int = 0, end: int | None = None) -> Iterator[tuple[int, int, int, int]]:
    """Number, wire type, start and end of the content of each field of a message."""
    end = len(data) if end is None else end
    while at < end:
        tag, at = read_varint(data, at, end)
        number, wire = tag >> 3, tag & 7
        start = at
        if wire == _VARINT:
            at = read_varint(data, at, end)[1]
        elif wire == _DELIMITED:
            length, start = read_varint(data, at, end)
            at = start + length
        elif wire in (_FIXED32, _FIXED64):
            at += 4 if wire == _FIXED32 else 8
        else:
            raise MalformedError(f"a field has the wire type {wire}")
        if at > end or not number:
            raise MalformedError("a field runs over the end of its message")
        yield number, wire, start, at


def submessages(data: bytes, number: int) -> list[bytes]:
    """The messages of a field, in their order."""
    return [data[a:b] for field, wire, a, b in fields(data) if field == number and wire == _DELIMITED]


def submessage(data: bytes, number: int) -> bytes:
    """The message of a field that is not repeated; several are merged, which their concatenation does."""
    return b"".join(submessages(data, number))


def read_feature(data: bytes) -> Feature:
    """Kind and values of a `Feature`."""
    kind: int = 0
    lists: list[bytes] = []
    for number, wire, start, end in fields(data):
        if wire == _DELIMITED and number in KIND_NAMES:
            lists = [*lists, data[start:end]] if number == kind else [data[start:end]]
            kind = number
    values: list[Any] = []
    for content in lists:
        for number, wire, start, end in fields(content):
            if number == 1:
                values += _values(kind, wire, content[start:end])
    return kind, values


def _values(kind: int, wire: int, content: bytes) -> list[Any]:
    """The values of a field of a list: one, or the packed values of numbers."""
    if kind == BYTES and wire == _DELIMITED:
        return [content]
    if kind == FLOAT and wire in (_DELIMITED, _FIXED32) and not len(content) % 4:
        return list(struct.unpack(f"<{len(content) // 4}f", content))
    if kind == INT64 and wire in (_DELIMITED, _VARINT):
        values, at = [], 0
        while at < len(content):
            value, at = read_varint(content, at, len(content))
            value &= (1 << 64) - 1
            values.append(value - (1 << 64) if value >> 63 else value)
        return values
    raise MalformedError(f"a {KIND_NAMES[kind]} has values of another type")


def entries(data: bytes) -> dict[bytes, bytes]:
    """The keys and values of a map, which `Features` and `FeatureLists` are; the last of a key counts."""
    found = {}
    for entry in submessages(data, 1):
        keys = submessages(entry, 1)
        if not keys:
            raise MalformedError("an entry has no key")
        found[keys[-1]] = submessage(entry, 2)
    return found


def read_features(data: bytes) -> dict[bytes, Feature]:
    """The features of a message `Features`."""
    return {key: read_feature(value) for key, value in entries(data).items()}


def varint(value: int) -> bytes:
    """An integer of variable length."""
    value &= (1 << 64) - 1
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def delimited(number: int, content: bytes) -> bytes:
    """A field that holds a message, text or packed numbers."""
    return b"%c%b%b" % (number << 3 | _DELIMITED, varint(len(content)), content)


def feature(kind: int, values: Sequence[Any]) -> bytes:
    """A message `Feature`; kind 0 is a feature without any value."""
    if not kind:
        return b""
    if kind == BYTES:
        return delimited(kind, b"".join(delimited(1, value) for value in values))
    packed = struct.pack(f"<{len(values)}f", *values) if kind == FLOAT else b"".join(map(varint, values))
    return delimited(kind, delimited(1, packed) if values else b"")


def entry(key: bytes, value: bytes) -> bytes:
    """An entry of the map that `Features` and `FeatureLists` are."""
    return delimited(1, delimited(1, key) + delimited(2, value))


def canonical_features(data: bytes) -> bytes:
    """A message `Features` as writers produce it: each key once, one list per feature, packed numbers."""
    return b"".join(entry(key, feature(*value)) for key, value in read_features(data).items())


def canonical_lists(data: bytes) -> bytes:
    """A message `FeatureLists` in the same form."""

    def canonical(value: bytes) -> bytes:
        return b"".join(delimited(1, feature(*read_feature(item))) for item in submessages(value, 1))

    return b"".join(entry(key, canonical(value)) for key, value in entries(data).items())
