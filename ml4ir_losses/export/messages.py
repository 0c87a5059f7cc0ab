"""Serialized `tf.Example`, `ExampleListWithContext` and `SequenceExample` as tensors of columns, inside a graph.

Only operations of TensorFlow, so that a SavedModel with them loads anywhere. A feature is a column of its name. It may
be a `float_list`, `int64_list` or `bytes_list` whatever the column holds: numbers and texts are converted as the reader
of TFRecord files does. A feature of the query counts before one of the documents with the same name.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.data.feeding import import_tensorflow
from ml4ir_losses.export.message_values import decode, read_features
from ml4ir_losses.features.fitted import ColumnType

_BUCKETS = 1 << 62


class MessageReader:
    """Reads serialized messages [B] as tensors by column, and the mask [B, N] of the documents.

    Args:
        columns: what each column holds; columns of queries give [B, ...], those of documents [B, N, ...].
    """

    def __init__(self, columns: Mapping[str, ColumnType]) -> None:
        tf = import_tensorflow()
        hashes = tf.strings.to_hash_bucket_fast(list(columns), _BUCKETS).numpy()
        order = np.argsort(hashes)
        self.names, self.hashes = [list(columns)[i] for i in order], hashes[order]
        self.columns = columns

    def examples(self, serialized: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """The columns of messages `Example`, lists of one document each."""
        tf = import_tensorflow()
        documents = self._features(self._part(serialized, "first"))[:, None]
        return self._tensors(tf.zeros_like(documents[:, 0]), documents), tf.ones(tf.shape(documents)[:2])

    def example_lists(self, serialized: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """The columns of messages `ExampleListWithContext`; a batch without documents has one place of padding."""
        tf = import_tensorflow()
        sizes, (examples, _) = decode(serialized, "Parts", tf.string, "first", "second")
        lists, places = tf.unstack(tf.shape(examples))
        documents = self._features(self._part(tf.reshape(examples, [-1]), "first"))
        documents = tf.reshape(documents, [lists, places, len(self.names)])
        context = self._features(self._part(self._part(serialized, "second"), "first"))
        return self._tensors(context, documents), tf.sequence_mask(sizes[:, 0], places, tf.float32)

    def sequence_examples(self, serialized: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """The columns of messages `SequenceExample`; a query has as many documents as its longest list."""
        tf = import_tensorflow()
        context = self._features(self._part(serialized, "first"))
        keys, values = self._entries(self._part(serialized, "second"))
        sizes, (lists,) = decode(values, "Texts", tf.string, "value")
        places = tf.shape(lists)[2]
        lists = tf.concat([tf.fill([tf.shape(lists)[0], 1, places], ""), lists], axis=1)
        documents = tf.transpose(tf.gather(lists, self._places(keys), batch_dims=1), [0, 2, 1])
        longest = tf.reduce_max(sizes[..., 0], axis=1)
        return self._tensors(context, documents), tf.sequence_mask(longest, places, tf.float32)

    def _part(self, messages: Tensor, field: str) -> Tensor:
        """A message within each message; several, which a client's server may append, are merged by joining them."""
        tf = import_tensorflow()
        return tf.strings.reduce_join(decode(messages, "Parts", tf.string, field)[1][0], axis=-1)

    def _entries(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [R, entries] of maps [R], such as `Features`."""
        tf = import_tensorflow()
        entries = decode(maps, "Texts", tf.string, "value")[1][0]
        keys, values = decode(entries, "Entry", tf.string, "key", "value")[1]
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

    def _tensors(self, context: Tensor, documents: Tensor) -> dict[str, Tensor]:
        """The columns, from the features of queries [B, columns] and of documents [B, N, columns]."""
        tf = import_tensorflow()
        query = tf.where(tf.equal(context, ""), documents[:, 0], context)
        documents = tf.where(tf.equal(context[:, None], ""), documents, context[:, None])
        found: dict[str, Tensor] = {}
        for scope, features in (("query", query), ("document", documents)):
            alike: dict[ColumnType, list[str]] = {}
            for name, column in self.columns.items():
                if column.scope == scope:
                    alike.setdefault(column, []).append(name)
            for column, names in alike.items():
                chosen = tf.gather(features, [self.names.index(name) for name in names], axis=-1)
                values = read_features(tf.reshape(chosen, [-1, len(names)]), column, names)
                values = tf.reshape(values, tf.concat([tf.shape(chosen), tf.shape(values)[2:]], axis=0))
                tensors = tf.unstack(values, len(names), axis=len(features.shape) - 1)
                for name, tensor in zip(names, tensors, strict=True):
                    tensor.set_shape([None] * (len(features.shape) - 1) + list(column.shape))
                    found[name] = tensor
        return found
