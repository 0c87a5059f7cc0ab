"""Tensors of lists for `data`: serialised documents, padding, masks."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import LazyModule, Tensor

tf: Any = LazyModule("tensorflow")

Spec = Mapping[str, Any]
"""Features to parse: `tf.io.FixedLenFeature`, `VarLenFeature` or `RaggedFeature` by name."""
Features = dict[str, Tensor]


@functools.cache
def lists_descriptor() -> bytes:
    """The message `Lists` with the wire format of `ExampleListWithContext`, whose Examples stay serialised."""
    from google.protobuf import descriptor_pb2

    files = descriptor_pb2.FileDescriptorSet()
    file = files.file.add(name="ml4ir_losses/lists.proto", package="ml4ir_losses", syntax="proto3")
    field = descriptor_pb2.FieldDescriptorProto
    message = file.message_type.add(name="Lists")
    message.field.add(name="examples", number=1, type=field.TYPE_BYTES, label=field.LABEL_REPEATED)
    message.field.add(name="context", number=2, type=field.TYPE_BYTES, label=field.LABEL_OPTIONAL)
    content: bytes = files.SerializeToString()
    return content


def needed(spec: Spec | None) -> Spec:
    """The features of documents; `UserError` where there are none."""
    if not spec:
        raise UserError("`example_feature_spec` needs at least one feature.")
    return spec


def limit(list_size: int | None) -> int | None:
    """None, 0 and negative numbers are no limit, as in TF-Ranking."""
    return list_size if list_size and list_size > 0 else None


def shuffled(documents: Tensor, sizes: Tensor, seed: int | None) -> Tensor:
    """Documents [B, N] in a random order, padding last; sizes [B]."""
    valid = tf.sequence_mask(sizes, tf.shape(documents)[1])
    keys = tf.where(valid, tf.random.uniform(tf.shape(documents), seed=seed), -1.0)
    return tf.gather(documents, tf.argsort(keys, direction="DESCENDING", stable=True), batch_dims=1)


def cut_or_padded(documents: Tensor, width: int | None) -> Tensor:
    """Serialised documents [B, longest list] as [B, N]; None keeps them as they are."""
    if width is None:
        return documents
    documents = documents[:, :width]
    documents = tf.pad(documents, [[0, 0], [0, width - tf.shape(documents)[1]]], constant_values="")
    return tf.ensure_shape(documents, [None, width])


def size_and_mask(sizes: Tensor, width: Any, size_name: str | None, mask_name: str | None) -> Features:
    """The features of sizes [B] and of masks [B, N], where they have names."""
    found = {size_name: sizes} if size_name else {}
    return {**found, mask_name: tf.sequence_mask(sizes, width)} if mask_name else found


def parse_documents(serialized: Tensor, spec: Spec | None) -> Features:
    """The features of serialised documents [B, N]; the empty string has default values."""
    rows, width = tf.shape(serialized)[0], serialized.shape[1] or tf.shape(serialized)[1]
    parsed = tf.io.parse_example(tf.reshape(serialized, [-1]), needed(spec))
    return {name: unflatten(value, rows, width) for name, value in parsed.items()}


def parse_context(serialized: Tensor, spec: Spec | None) -> Features:
    """The features of serialised contexts, [B] or [B, 1]."""
    features: Features = tf.io.parse_example(tf.reshape(serialized, [-1]), spec) if spec else {}
    return features


def unflatten(value: Tensor, rows: Tensor, width: Any) -> Tensor:
    """[B * N, ...] as [B, N, ...]."""
    if isinstance(value, tf.RaggedTensor):
        return tf.RaggedTensor.from_uniform_row_length(value, width)
    shape = tf.concat([[rows, width], tf.cast(tf.shape(value)[1:], tf.int32)], 0)
    if isinstance(value, tf.SparseTensor):
        return tf.sparse.reshape(value, shape)
    return tf.ensure_shape(tf.reshape(value, shape), [None, _static(width), *value.shape[1:]])


def _static(width: Any) -> int | None:
    return width if isinstance(width, int) else None


def sizes_of(value: Tensor) -> Tensor:
    """The number of documents of each list of a sparse or ragged feature, up to the last one that has it."""
    if isinstance(value, tf.RaggedTensor):
        return value.row_lengths()
    last = tf.math.unsorted_segment_max(value.indices[:, 1] + 1, value.indices[:, 0], value.dense_shape[0])
    return tf.maximum(last, 0)


def bounds(value: Tensor) -> Tensor:
    """The smallest shape that holds all values of a dense, sparse or ragged tensor."""
    if isinstance(value, tf.RaggedTensor):
        return value.bounding_shape()
    return value.dense_shape if isinstance(value, tf.SparseTensor) else tf.shape(value)


def scalar_default(name: str, spec: Any) -> Any:
    """The default value of a feature, 0 or "" where it has none."""
    default = spec.default_value
    while isinstance(default, (list, tuple)) and len(default) == 1:
        default = default[0]
    if default is None:
        return "" if spec.dtype == tf.string else 0
    if not isinstance(default, (str, bytes, int, float)):
        raise UserError(f"Feature {name!r}: the default value must be a scalar. Received: {default!r}.")
    return default


def padded(value: Tensor, sizes: Tensor, width: Any, default: Any) -> Tensor:
    """A dense feature [B, documents, ...] cut or padded to [B, N, ...]."""
    default = tf.cast(default, value.dtype) if value.dtype != tf.string else default
    static = [None, _static(width), *value.shape[2:]]
    value = value[:, :width]
    missing = width - tf.shape(value)[1]
    value = tf.pad(value, [[0, 0], [0, missing]] + [[0, 0]] * (value.shape.rank - 2), constant_values=default)
    given = tf.sequence_mask(sizes, width)
    given = tf.reshape(given, tf.concat([tf.shape(given), tf.ones([value.shape.rank - 2], tf.int32)], 0))
    return tf.ensure_shape(tf.where(given, value, default), static)


def padded_sparse(value: Tensor, width: Any) -> Tensor:
    """A sparse feature cut or padded to [B, N, ...]."""
    shape = tf.concat([value.dense_shape[:1], [tf.cast(width, tf.int64)], value.dense_shape[2:]], 0)
    cut = tf.sparse.slice(value, tf.zeros_like(shape), shape)
    return tf.sparse.reset_shape(cut, shape)


def padded_ragged(value: Tensor, width: Any) -> Tensor:
    """Lists longer than N are cut; where no list of the batch is longer, all get N documents, the last ones empty."""

    def padded() -> Tensor:
        lengths = value.row_lengths(axis=2).to_tensor(0)
        lengths = tf.reshape(tf.pad(lengths, [[0, 0], [0, width - tf.shape(lengths)[1]]]), [-1])
        documents = tf.RaggedTensor.from_row_lengths(value.flat_values, lengths)
        return tf.RaggedTensor.from_uniform_row_length(documents, width, nrows=value.nrows())

    longer = tf.cast(value.bounding_shape()[1], tf.int32) > width
    if tf.executing_eagerly():
        return value[:, :width] if longer else padded()
    return tf.cond(longer, lambda: value[:, :width], padded)
