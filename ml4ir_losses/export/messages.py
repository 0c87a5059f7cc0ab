"""Serialized `tf.Example`, `ExampleListWithContext` and `SequenceExample` as tensors of columns, inside a graph.

Only operations of TensorFlow, so that a SavedModel with them loads anywhere. A feature is a column of its name. It may
be a `float_list`, `int64_list` or `bytes_list` whatever the column holds: numbers and texts are converted as the reader
of TFRecord files does. A feature of the query counts before one of the documents with the same name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.core.names import MASK
from ml4ir_losses.data.feeding import import_tensorflow
from ml4ir_losses.features.fitted import ColumnType

_PACKAGE = "ml4ir_losses"
_BUCKETS = 1 << 62
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


class MessageReader:
    """Reads serialized messages [B] as tensors by column, with `mask` [B, N].

    Args:
        columns: what each column holds; columns of queries give [B, ...], those of documents [B, N, ...].
    """

    def __init__(self, columns: Mapping[str, ColumnType]) -> None:
        tf = import_tensorflow()
        hashes = tf.strings.to_hash_bucket_fast(list(columns), _BUCKETS).numpy()
        order = np.argsort(hashes)
        self.names, self.hashes = [list(columns)[i] for i in order], hashes[order]
        self.columns = columns
        self.descriptor = _descriptor()

    def examples(self, serialized: Tensor) -> dict[str, Tensor]:
        """The columns of messages `Example`, lists of one document each."""
        tf = import_tensorflow()
        documents = self._features(self._part(serialized, "first"))[:, None]
        return self._tensors(tf.zeros_like(documents[:, 0]), documents, tf.ones(tf.shape(documents)[:2]))

    def example_lists(self, serialized: Tensor) -> dict[str, Tensor]:
        """The columns of messages `ExampleListWithContext`; a batch without documents has one place of padding."""
        tf = import_tensorflow()
        sizes, (examples, _) = self._decode(serialized, "Parts", tf.string, "first", "second")
        lists, places = tf.unstack(tf.shape(examples))
        documents = self._features(self._part(tf.reshape(examples, [-1]), "first"))
        documents = tf.reshape(documents, [lists, places, len(self.names)])
        context = self._features(self._part(self._part(serialized, "second"), "first"))
        return self._tensors(context, documents, tf.sequence_mask(sizes[:, 0], places, tf.float32))

    def sequence_examples(self, serialized: Tensor) -> dict[str, Tensor]:
        """The columns of messages `SequenceExample`; a query has as many documents as its longest list."""
        tf = import_tensorflow()
        context = self._features(self._part(serialized, "first"))
        keys, values = self._entries(self._part(serialized, "second"))
        sizes, (lists,) = self._decode(values, "Texts", tf.string, "value")
        places = tf.shape(lists)[2]
        lists = tf.concat([tf.fill([tf.shape(lists)[0], 1, places], ""), lists], axis=1)
        documents = tf.transpose(tf.gather(lists, self._places(keys), batch_dims=1), [0, 2, 1])
        mask = tf.sequence_mask(tf.reduce_max(sizes[..., 0], axis=1), places, tf.float32)
        return self._tensors(context, documents, mask)

    def _decode(self, messages: Tensor, view: str, dtype: Any, *fields: str) -> tuple[Tensor, list[Tensor]]:
        """Numbers of values [..., fields] and values [..., most values] of each field; others are "" or 0."""
        tf = import_tensorflow()
        return tf.io.decode_proto(  # type: ignore[no-any-return]
            messages, f"{_PACKAGE}.{view}", list(fields), [dtype] * len(fields), descriptor_source=self.descriptor
        )

    def _part(self, messages: Tensor, field: str) -> Tensor:
        """A message within each message; several, which a client's server may append, are merged by joining them."""
        tf = import_tensorflow()
        return tf.strings.reduce_join(self._decode(messages, "Parts", tf.string, field)[1][0], axis=-1)

    def _entries(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [R, entries] of maps [R], such as `Features`."""
        tf = import_tensorflow()
        entries = self._decode(maps, "Texts", tf.string, "value")[1][0]
        keys, values = self._decode(entries, "Entry", tf.string, "key", "value")[1]
        return keys[..., 0], values[..., 0]

    def _places(self, keys: Tensor) -> Tensor:
        """Where the key of each column is among keys [R, E], [R, columns]: the last one, from 1; 0 where it is not."""
        tf = import_tensorflow()
        hashes = tf.strings.to_hash_bucket_fast(keys, _BUCKETS)
        column = tf.searchsorted(self.hashes, tf.reshape(hashes, [-1]))
        column = tf.reshape(tf.minimum(column, len(self.names) - 1), tf.shape(keys))
        known = tf.where(tf.equal(tf.gather(tf.constant(self.names), column), keys))
        row, entry = tf.unstack(tf.cast(known, tf.int32), axis=1)
        found = tf.zeros([tf.shape(keys)[0], len(self.names)], tf.int32)
        return tf.tensor_scatter_nd_max(found, tf.stack([row, tf.gather_nd(column, known)], axis=1), entry + 1)

    def _features(self, messages: Tensor) -> Tensor:
        """The serialized `Feature` of each column, [R, columns], of messages `Features` [R]; "" where it is missing."""
        tf = import_tensorflow()
        keys, values = self._entries(messages)
        values = tf.concat([tf.fill([tf.shape(values)[0], 1], ""), values], axis=1)
        return tf.gather(values, self._places(keys), batch_dims=1)

    def _tensors(self, context: Tensor, documents: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """The columns, from the features of queries [B, columns] and of documents [B, N, columns]."""
        tf = import_tensorflow()
        query = tf.where(tf.equal(context, ""), documents[:, 0], context)
        documents = tf.where(tf.equal(context[:, None], ""), documents, context[:, None])
        found = {MASK: mask}
        for scope, features in (("query", query), ("document", documents)):
            alike: dict[ColumnType, list[str]] = {}
            for name, column in self.columns.items():
                if column.scope == scope:
                    alike.setdefault(column, []).append(name)
            for column, names in alike.items():
                chosen = tf.gather(features, [self.names.index(name) for name in names], axis=-1)
                values = self._values(tf.reshape(chosen, [-1, len(names)]), column, names)
                values = tf.reshape(values, tf.concat([tf.shape(chosen), tf.shape(values)[2:]], axis=0))
                tensors = tf.unstack(values, len(names), axis=len(features.shape) - 1)
                for name, tensor in zip(names, tensors, strict=True):
                    tensor.set_shape([None] * (len(features.shape) - 1) + list(column.shape))
                    found[name] = tensor
        return found

    def _values(self, features: Tensor, column: ColumnType, names: list[str]) -> Tensor:
        """The cells [R, columns, ...] of serialized features [R, columns]."""
        tf = import_tensorflow()
        parts = self._decode(features, "Feature", tf.string, "texts", "floats", "ints")[1]
        counts, texts = self._lists(parts[0], "Texts", tf.string)
        float_counts, floats = self._lists(parts[1], "Floats", tf.float32)
        int_counts, ints = self._lists(parts[2], "Ints", tf.int64)
        if column.separator is not None and column.dtype != "string":
            counts, texts = _split(texts, column.separator)
        width = tf.reduce_max([tf.shape(values)[2] for values in (texts, floats, ints)])
        is_float, is_int = float_counts[..., None] > 0, int_counts[..., None] > 0
        texts, floats, ints = (_padded(values, width) for values in (texts, floats, ints))
        counts = tf.reduce_max([counts, float_counts, int_counts], axis=0)
        given = tf.range(width) < counts[..., None]
        if column.dtype == "string":
            _check(tf.abs(floats) <= _EXACT, names, "holds numbers where its column holds text")
            _check(tf.equal(floats, tf.round(floats)), names, "holds numbers where its column holds text")
            whole = tf.where(is_float, tf.cast(floats, tf.int64), ints)
            values = tf.where(tf.logical_and(given, is_float | is_int), tf.strings.as_string(whole), texts)
        else:
            blank = tf.equal(tf.strings.strip(texts), "")
            numbers = tf.strings.to_number(tf.where(blank, "nan", tf.strings.strip(texts)), tf.float64)
            numbers = tf.where(
                is_float, tf.cast(floats, tf.float64), tf.where(is_int, tf.cast(ints, tf.float64), numbers)
            )
            values = tf.cast(tf.where(given, numbers, np.nan), column.dtype)
        if column.shape == ():
            _check(counts <= 1, names, "has several values, and its column one")
            return values[..., 0]
        size = column.shape[0]
        if size is None:
            return values
        if column.dtype != "string":
            _check(tf.logical_or(tf.equal(counts, 0), tf.equal(counts, size)), names, f"is no vector of {size} numbers")
        return _padded(values, size)[..., :size]

    def _lists(self, messages: Tensor, view: str, dtype: Any) -> tuple[Tensor, Tensor]:
        """Numbers of values [R, columns] and values [R, columns, K] of lists; most batches have lists of one kind."""
        tf = import_tensorflow()

        def read() -> tuple[Tensor, Tensor]:
            sizes, (values,) = self._decode(messages[..., 0], view, dtype, "value")
            return sizes[..., 0], values

        def nothing() -> tuple[Tensor, Tensor]:
            return tf.zeros(tf.shape(messages)[:2], tf.int32), tf.zeros(tf.shape(messages), dtype)

        return tf.cond(tf.reduce_any(tf.not_equal(messages, "")), read, nothing)  # type: ignore[no-any-return]


def _padded(values: Tensor, width: Any) -> Tensor:
    """Values [R, columns, K] with at least `width` places."""
    tf = import_tensorflow()
    more = tf.maximum(width - tf.shape(values)[2], 0)
    return tf.concat([values, tf.zeros(tf.concat([tf.shape(values)[:2], [more]], axis=0), values.dtype)], axis=2)


def _split(texts: Tensor, separator: str) -> tuple[Tensor, Tensor]:
    """The first text of each cell [R, columns, K] at its separators: numbers of values, and values."""
    tf = import_tensorflow()
    items = tf.strings.split(tf.reshape(tf.strings.strip(texts[..., 0]), [-1]), separator)
    blank = tf.equal(tf.strings.strip(texts[..., 0]), "")
    values = items.to_tensor("")
    values = tf.reshape(values, tf.concat([tf.shape(texts)[:2], [tf.shape(values)[1]]], axis=0))
    counts = tf.reshape(tf.cast(items.row_lengths(), tf.int32), tf.shape(texts)[:2])
    return tf.where(blank, 0, counts), values


def _check(holds: Tensor, names: list[str], reason: str) -> None:
    """Fails where a condition [R, columns, ...] does not hold, with the name of the feature."""
    tf = import_tensorflow()
    axes = [axis for axis in range(len(holds.shape)) if axis != 1]
    by_column = tf.reduce_all(holds, axis=axes)
    name = tf.gather(tf.constant(names), tf.argmin(tf.cast(by_column, tf.int32)))
    tf.debugging.Assert(tf.reduce_all(by_column), [tf.strings.join(["feature '", name, f"' {reason}."])])


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
