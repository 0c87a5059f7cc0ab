"""What the records of a TFRecord file are: which messages their bytes can be."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice

from ml4ir_losses.data.tfrecord import wire

EXAMPLE, SEQUENCE, ELWC, EIE = "example", "sequence_example", "elwc", "eie"
KINDS = (SEQUENCE, ELWC, EIE, EXAMPLE)
EIE_CONTEXT, EIE_DOCUMENTS = b"serialized_context", b"serialized_examples"
_RECORDS = 100  # that are looked at where none tells the kind
_CHECKED = 20  # fields of a message: a query may have a million documents


def possible_kinds(record: bytes) -> list[str]:
    """The kinds that a record can be read as; several for records without features or without documents."""
    kinds = []
    if _is_message(record, {1: _is_features, 2: _is_feature_lists}):
        kinds.append(SEQUENCE)
    if _is_message(record, {1: _is_example, 2: _is_example}):
        kinds.append(ELWC)
    if _is_example(record):
        features = wire.entries(wire.submessage(record, 1))
        if EIE_DOCUMENTS in features or EIE_CONTEXT in features:
            return [EIE]
        kinds.append(EXAMPLE)
    return kinds


def kind_of(records: Iterable[bytes]) -> tuple[str | None, bool]:
    """The kind of the first records, and whether the first of them tells it.

    Where none does, it is the last possible kind of the first record: an `Example` rather than a query without
    documents. None where the first record is no such message at all.
    """
    first: list[str] = []
    for number, record in enumerate(islice(records, _RECORDS)):
        kinds = possible_kinds(record)
        first = first or kinds
        if len(kinds) < 2:
            return (kinds[0] if kinds else None), number == 0
    return (first[-1] if first else None), first == [SEQUENCE, EXAMPLE]


def _is_message(data: bytes, allowed: dict[int, Callable[[bytes], bool]]) -> bool:
    """True where the first fields are among those allowed, and their contents pass the tests."""
    try:
        return all(
            wire_type == 2 and number in allowed and allowed[number](data[start:end])
            for number, wire_type, start, end in islice(wire.fields(data), _CHECKED)
        )
    except wire.MalformedError:
        return False


def _is_example(data: bytes) -> bool:
    return _is_message(data, {1: _is_features})


def _is_features(data: bytes) -> bool:
    return _is_message(data, {1: lambda entry: _is_entry(entry, _is_feature)})


def _is_feature_lists(data: bytes) -> bool:
    return _is_message(data, {1: lambda entry: _is_entry(entry, lambda value: _is_message(value, {1: _is_feature}))})


def _is_entry(data: bytes, is_value: Callable[[bytes], bool]) -> bool:
    """True for an entry of a map: a key of text and a value."""
    numbers = [number for number, *_ in wire.fields(data)]
    return sorted(numbers) == [1, 2] and _is_message(data, {1: _is_text, 2: is_value})


def _is_feature(data: bytes) -> bool:
    try:
        wire.read_feature(data)
    except wire.MalformedError:
        return False
    return _is_message(data, dict.fromkeys(wire.KIND_NAMES, lambda _: True))


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
