"""Inputs of type `categorical`: a category per document, embedded, or several of them, pooled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from ml4ir_losses.config.category_inputs import CategoricalInput
from ml4ir_losses.config.inputs import FeatureConfig
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.data.feeding import import_tensorflow
from ml4ir_losses.data.table import Table
from ml4ir_losses.features.fitted import Accumulator, ColumnType, FittedInput
from ml4ir_losses.features.hashing import buckets, hashed
from ml4ir_losses.features.input_encoder import IdEncoder, InputEncoder
from ml4ir_losses.features.lists import check_single, list_texts
from ml4ir_losses.features.strings import distinct_counts, encode_distinct, made_up_values
from ml4ir_losses.features.vocabulary import read_vocabulary
from ml4ir_losses.text.words import most_common

NOTHING = -1  # the id that fills up lists of values


class CategoricalAccumulator(Accumulator):
    """Counts the categories; inputs that share an embedding share the counter."""

    config: CategoricalInput

    def __init__(self, config: CategoricalInput, features: FeatureConfig) -> None:
        super().__init__(config, features)
        self.owner = features.owner(config)
        self.longest = 1
        self.given: list[str] | None = None
        if isinstance(self.owner.vocabulary, str):
            self.given = read_vocabulary(self.owner.vocabulary)
        elif self.owner.vocabulary is not None:
            self.given = list(self.owner.vocabulary)

    def share(self, accumulators: Mapping[str, Accumulator]) -> None:
        other = accumulators[self.owner.name]
        if isinstance(other, CategoricalAccumulator):
            self.counts = other.counts

    def update(self, table: Table, sample: Array | None) -> None:
        counts = self.owner.encoding == "vocabulary" and self.given is None
        if self.config.pooled is None:
            check_single(table, self.columns[0])
            texts: Any = table.strings(self.columns[0])
        else:
            texts, _, place = list_texts(table, self.columns[0], self.config.separator)
            self.longest = max(self.longest, int(place.max(initial=-1)) + 1)
        if counts:
            self.counts.update(dict(distinct_counts(texts)))

    def result(self) -> FittedCategorical:
        owner, hashes = self.owner, self.owner.encoding == "hash"
        counted = most_common(self.counts, owner.max_vocabulary, owner.min_count)
        pooled = self.config.pooled
        return FittedCategorical(
            name=self.config.name,
            scope=self.config.scope,
            columns=self.columns,
            vocabulary=[] if hashes else self.given or counted,
            num_buckets=owner.num_buckets if hashes else owner.oov_buckets,
            embedding_dim=owner.embedding_dim,
            share_embedding=self.config.share_embedding,
            pooling=pooled,
            separator=self.config.separator,
            max_values=0 if pooled is None else min(self.longest, self.config.max_values),
            empty_is_missing=self.config.empty == "missing",
        )


class FittedCategorical(FittedInput):
    """Categories as ids: 0 if missing, then the buckets of unknown ones, then the vocabulary; -1 fills up lists.

    Without buckets an unknown category has the id 0 too.
    """

    type: Literal["categorical"] = "categorical"
    vocabulary: list[str] = []
    num_buckets: int = 0
    embedding_dim: int = 16
    share_embedding: str | None = None
    pooling: Literal["mean", "sum", "max"] | None = None
    separator: str | None = None
    max_values: int = 0
    empty_is_missing: bool = False

    @property
    def keeps_lists(self) -> bool:
        return self.pooling is not None

    @cached_property
    def index(self) -> dict[str, int]:
        """The id of each value of the vocabulary."""
        return {value: i for i, value in enumerate(self.vocabulary, 1 + self.num_buckets)}

    @property
    def rows(self) -> int:
        """The number of embeddings."""
        return 1 + self.num_buckets + max(len(self.vocabulary), int(not self.num_buckets))

    def encode(self, table: Table) -> Array:
        column = self.columns[0]
        if self.pooling is None:
            check_single(table, column)
            return encode_distinct(table.strings(column), self.ids)
        texts, row, place = list_texts(table, column, self.separator)
        encoded = self.empty((len(table),))
        kept = place < self.max_values
        encoded[row[kept], place[kept]] = encode_distinct(texts, self.ids)[kept]
        return encoded

    @property
    def column_types(self) -> dict[str, ColumnType]:
        is_list = self.pooling is not None and self.separator is None
        return {self.columns[0]: ColumnType("string", (None,) if is_list else (), self.scope)}

    def made_up(self, rows: int, rng: np.random.Generator) -> dict[str, Any]:
        values = made_up_values(self.vocabulary, rows, rng)
        if self.pooling is None:
            return {self.columns[0]: values}
        lists = [made_up_values(self.vocabulary, int(rng.integers(self.max_values + 2)), rng) for _ in range(rows)]
        return {self.columns[0]: lists if self.separator is None else [self.separator.join(cell) for cell in lists]}

    def ids(self, values: Sequence[str]) -> Array:
        """Ids of categories, [values]."""
        index = self.index
        ids = np.array([index.get(value, 0) for value in values], dtype="int32")
        unknown = [i for i, value in enumerate(values) if value != "" and value not in index]
        if self.num_buckets and unknown:
            ids[unknown] = 1 + hashed([values[i] for i in unknown], self.num_buckets)
        return ids

    def unknown(self, table: Table) -> tuple[int, int]:
        if not self.vocabulary:
            return 0, 0
        column = self.columns[0]
        texts = table.strings(column) if self.pooling is None else list_texts(table, column, self.separator).values
        total = missed = 0
        for value, number in distinct_counts(texts):
            total += number if value else 0
            missed += number if value and value not in self.index else 0
        return missed, total

    def empty(self, shape: tuple[int, ...]) -> Array:
        if self.pooling is None:
            return np.zeros(shape, "int32")
        ids = np.full((*shape, self.max_values), NOTHING, "int32")
        if self.empty_is_missing:
            ids[..., 0] = 0
        return ids

    def encoder(self, name: str, dtype: Any) -> CategoryEncoder:
        return CategoryEncoder(self, name=name, dtype=dtype)


@keras.saving.register_keras_serializable("ml4ir_losses")
class CategoryEncoder(IdEncoder):
    """Embedding of a category, or the mean, sum or maximum of those of a list."""

    def __init__(self, fitted: FittedCategorical | Mapping[str, Any], **kwargs: Any) -> None:
        fitted = FittedCategorical.model_validate(fitted)
        super().__init__(
            fitted, fitted.rows, lambda: _lookup(fitted.vocabulary) if fitted.vocabulary else None, **kwargs
        )

    def share(self, encoders: Mapping[str, InputEncoder]) -> None:
        other = encoders.get(self.fitted.share_embedding or "")
        if isinstance(other, CategoryEncoder):
            del self.embedding  # so that Keras tracks it no more
            self.embedding = other.embedding

    def look_up(self, x: Tensor) -> Tensor:
        if self.fitted.pooling is None:
            return self._ids(x)
        fitted, tf = self.fitted, import_tensorflow()
        cells = (*(x.shape if fitted.separator is not None else x.shape[:-1]), fitted.max_values)
        if fitted.separator is not None:
            shape = tf.shape(x)
            items = tf.strings.split(tf.reshape(x, (-1,)), fitted.separator)
        else:
            shape = tf.shape(x)[:-1]
            items = tf.RaggedTensor.from_tensor(tf.reshape(x, (tf.reduce_prod(shape), tf.shape(x)[-1])))
        items = tf.strings.strip(items)
        items = tf.ragged.boolean_mask(items, tf.not_equal(items, ""))
        values = items.to_tensor("", shape=(None, fitted.max_values))
        x = tf.ensure_shape(tf.reshape(values, tf.concat([shape, [fitted.max_values]], 0)), cells)
        ids = tf.where(tf.equal(x, ""), tf.constant(NOTHING, "int64"), self._ids(x))
        if fitted.empty_is_missing:
            first = tf.where(tf.reduce_all(ids < 0, axis=-1, keepdims=True), tf.zeros_like(ids[..., :1]), ids[..., :1])
            ids = tf.concat([first, ids[..., 1:]], axis=-1)
        return ids

    def _ids(self, x: Tensor) -> Tensor:
        tf, number = import_tensorflow(), self.fitted.num_buckets
        ids = tf.zeros(tf.shape(x), "int64")
        if number:
            ids = tf.where(tf.equal(x, ""), ids, 1 + buckets(x, number))
        if self.lookup is None:
            return ids
        known = tf.cast(self.lookup(x), "int64")
        return tf.where(known > 0, known + number, ids)

    def embed(self, raw: Tensor) -> Tensor:
        pooling = self.fitted.pooling
        if pooling is None:
            return self.embedding(raw)
        is_value = ops.expand_dims(ops.greater_equal(raw, 0), -1)
        embedded = self.embedding(ops.maximum(raw, 0))
        number = ops.sum(ops.cast(is_value, embedded.dtype), axis=-2)
        if pooling == "max":
            highest = ops.max(ops.where(is_value, embedded, float("-inf")), axis=-2)
            return ops.where(number > 0, highest, 0.0)
        total = ops.sum(ops.where(is_value, embedded, 0.0), axis=-2)
        return total if pooling == "sum" else total / ops.maximum(number, 1.0)


def _lookup(vocabulary: Sequence[str]) -> Any:
    """The layer that gives the places of strings in a vocabulary, from 1; 0 if they are not there."""
    # The out-of-vocabulary token must not occur in the data.
    return keras.layers.StringLookup(vocabulary=vocabulary, num_oov_indices=1, oov_token="\0")
