"""Values of serialized features, as a column of numbers or texts holds them, inside a graph."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.data.feeding import import_tensorflow
from ml4ir_losses.features.fitted import ColumnType

_PACKAGE = "ml4ir_losses"
_EXACT = float(1 << 24)  # up to here, whole numbers of float32 are written without an exponent
_MESSAGES = {
    "Parts": (("first", 1, "BYTES", "REPEATED"), ("second", 2, "BYTES", "REPEATED")),
    "Entry": (("key", 1, "BYTES", "OPTIONAL"), ("value", 2, "BYTES", "OPTIONAL")),
    "Feature": tuple((name, place, "BYTES", "OPTIONAL") for place, name in enumerate(("texts", "floats", "ints"), 1)),
    "Texts": (("value", 1, "BYTES", "REPEATED"),),
    "Floats": (("value", 1, "FLOAT", "REPEATED"),),
    "Ints": (("value", 1, "INT64", "REPEATED"),),
}
"""Views of the messages: fields 1 and 2 of any message as bytes, an entry of a map, a `Feature` and its lists."""


def decode(messages: Tensor, view: str, dtype: Any, *fields: str) -> tuple[Tensor, list[Tensor]]:
    """Numbers of values [..., fields], and values [..., most values] of each field; what fills them up is "" or 0."""
    tf = import_tensorflow()
    return tf.io.decode_proto(  # type: ignore[no-any-return]
        messages, f"{_PACKAGE}.{view}", list(fields), [dtype] * len(fields), descriptor_source=_descriptor()
    )


def read_features(features: Tensor, column: ColumnType, names: Sequence[str]) -> Tensor:
    """The cells [R, columns, ...] of serialized features [R, columns] of columns of a type; "" is a missing feature."""
    tf = import_tensorflow()
    texts, floats, ints = (
        part[..., 0] for part in decode(features, "Feature", tf.string, "texts", "floats", "ints")[1]
    )
    is_text = column.dtype == "string"
    others = (floats, ints) if is_text else (texts, ints)
    counts, values = tf.cond(  # most batches need no conversion
        tf.reduce_any([tf.reduce_any(tf.not_equal(part, "")) for part in others]),
        lambda: _converted(texts, floats, ints, column, names),
        lambda: _texts(texts) if is_text else _as_type(*_list(floats, "Floats", tf.float32), column.dtype),
    )
    if column.shape == ():
        _check(counts <= 1, names, "has several values, and its column one")
        return values[..., 0]
    size = column.shape[0]
    if size is None:
        return values
    if not is_text:
        _check(tf.logical_or(tf.equal(counts, 0), tf.equal(counts, size)), names, f"is no vector of {size} numbers")
    return _padded(values, size, column.dtype)


def _converted(
    texts: Tensor, floats: Tensor, ints: Tensor, column: ColumnType, names: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """Numbers of values [R, columns] and values [R, columns, K] of lists of all kinds."""
    tf = import_tensorflow()
    text_counts, text = _texts(texts)
    float_counts, number = _list(floats, "Floats", tf.float32)
    int_counts, whole = _list(ints, "Ints", tf.int64)
    if column.separator is not None and column.dtype != "string":
        text_counts, text = _split(text[..., 0], column.separator)
    width = tf.reduce_max([tf.shape(values)[2] for values in (text, number, whole)])
    text, number, whole = (_padded(values, width) for values in (text, number, whole))
    counts = tf.reduce_max([text_counts, float_counts, int_counts], axis=0)
    is_float, is_int = float_counts[..., None] > 0, int_counts[..., None] > 0
    if column.dtype == "string":
        exact = tf.logical_and(tf.abs(number) <= _EXACT, tf.equal(number, tf.round(number)))
        _check(exact, names, "holds numbers that are not whole, and its column text")
        given = tf.logical_and(tf.logical_or(is_float, is_int), tf.range(width) < counts[..., None])
        return counts, tf.where(given, tf.strings.as_string(tf.where(is_float, tf.cast(number, tf.int64), whole)), text)
    text = tf.strings.strip(text)
    found = tf.strings.to_number(tf.where(tf.equal(text, ""), "nan", text), tf.float64)
    found = tf.where(is_int, tf.cast(whole, tf.float64), found)
    return _as_type(counts, tf.where(is_float, tf.cast(number, tf.float64), found), column.dtype)


def _texts(messages: Tensor) -> tuple[Tensor, Tensor]:
    return _list(messages, "Texts", import_tensorflow().string)


def _list(messages: Tensor, view: str, dtype: Any) -> tuple[Tensor, Tensor]:
    """Numbers of values [R, columns] and values [R, columns, K] of lists."""
    sizes, (values,) = decode(messages, view, dtype, "value")
    return sizes[..., 0], values


def _as_type(counts: Tensor, values: Tensor, dtype: str) -> tuple[Tensor, Tensor]:
    """Counts and numbers, NaN where there is none."""
    tf = import_tensorflow()
    given = tf.range(tf.shape(values)[2]) < counts[..., None]
    return counts, tf.cast(tf.where(given, values, tf.constant(np.nan, values.dtype)), dtype)


def _padded(values: Tensor, width: Any, dtype: str = "") -> Tensor:
    """Values [R, columns, K] with `width` places, NaN in those of vectors."""
    tf = import_tensorflow()
    fill = tf.constant(np.nan, dtype) if dtype.startswith("float") else tf.zeros((), values.dtype)
    more = tf.maximum(width - tf.shape(values)[2], 0)
    filling = tf.fill(tf.concat([tf.shape(values)[:2], [more]], axis=0), fill)
    return tf.concat([values, filling], axis=2)[..., :width]


def _split(texts: Tensor, separator: str) -> tuple[Tensor, Tensor]:
    """The parts of texts [R, columns] between separators: their numbers, and the parts [R, columns, K]."""
    tf = import_tensorflow()
    texts, shape = tf.strings.strip(texts), tf.shape(texts)
    parts = tf.strings.split(tf.reshape(texts, [-1]), separator)
    counts = tf.reshape(tf.cast(parts.row_lengths(), tf.int32), shape)
    values = parts.to_tensor("")
    values = tf.reshape(values, tf.concat([shape, [tf.shape(values)[1]]], axis=0))
    return tf.where(tf.equal(texts, ""), 0, counts), values


def _check(holds: Tensor, names: Sequence[str], reason: str) -> None:
    """Fails where a condition [R, columns, ...] does not hold, with the name of the feature."""
    tf = import_tensorflow()
    axes = [axis for axis in range(len(holds.shape)) if axis != 1]
    by_column = tf.reduce_all(holds, axis=axes)
    name = tf.gather(tf.constant(names), tf.argmin(tf.cast(by_column, tf.int32)))
    tf.debugging.Assert(tf.reduce_all(by_column), [tf.strings.join(["feature '", name, f"' {reason}."])])


@cache
def _descriptor() -> bytes:
    """The messages of `_MESSAGES`, as `tf.io.decode_proto` reads them."""
    from google.protobuf import descriptor_pb2

    fields = descriptor_pb2.FieldDescriptorProto
    files = descriptor_pb2.FileDescriptorSet()
    file = files.file.add(name=f"{_PACKAGE}.proto", package=_PACKAGE, syntax="proto3")
    for message, parts in _MESSAGES.items():
        view = file.message_type.add(name=message)
        for name, number, kind, label in parts:
            view.field.add(
                name=name, number=number, type=getattr(fields, f"TYPE_{kind}"), label=getattr(fields, f"LABEL_{label}")
            )
    return b"bytes://" + bytes(files.SerializeToString())
