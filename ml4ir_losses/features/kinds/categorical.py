"""Inputs of type `categorical`: a category per document, embedded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np

from ml4ir_losses.config.inputs import CategoricalInput
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.data.table import Table
from ml4ir_losses.features.fitted import Accumulator, FittedInput
from ml4ir_losses.features.input_encoder import IdEncoder
from ml4ir_losses.features.strings import distinct_counts, encode_distinct
from ml4ir_losses.text.words import most_common


class CategoricalAccumulator(Accumulator):
    """Counts the categories."""

    config: CategoricalInput

    def update(self, table: Table, sample: Array | None) -> None:
        if self.config.encoding == "vocabulary":
            self.counts.update(dict(distinct_counts(table.strings(self.columns[0]))))

    def result(self) -> FittedCategorical:
        hashed = self.config.encoding == "hash"
        return FittedCategorical(
            name=self.config.name,
            scope=self.config.scope,
            columns=self.columns,
            vocabulary=most_common(self.counts, self.config.max_vocabulary),
            num_buckets=self.config.num_buckets if hashed else 0,
            embedding_dim=self.config.embedding_dim,
        )


class FittedCategorical(FittedInput):
    """A category by its place in the vocabulary, 0 if it is empty or unknown; or by its hash."""

    type: Literal["categorical"] = "categorical"
    vocabulary: list[str] = []
    num_buckets: int = 0
    embedding_dim: int = 16

    def encode(self, table: Table) -> Array:
        return encode_distinct(table.strings(self.columns[0]), self.ids)

    def ids(self, values: Sequence[str]) -> Array:
        """Ids of categories, [values]."""
        if self.num_buckets:
            return np.asarray(self.lookup()(np.array(values, object))).astype("int32")
        index = {value: i for i, value in enumerate(self.vocabulary)}
        return np.array([index.get(v, -1) + 1 for v in values], dtype="int32")

    def lookup(self) -> Any:
        """The layer that gives the same ids inside a model."""
        if self.num_buckets:
            return keras.layers.Hashing(num_bins=self.num_buckets)
        # The out-of-vocabulary token must not occur in the data.
        return keras.layers.StringLookup(vocabulary=self.vocabulary or ["[none]"], num_oov_indices=1, oov_token="\0")

    def empty(self, shape: tuple[int, ...]) -> Array:
        return np.zeros(shape, "int32")

    def encoder(self, name: str, dtype: Any) -> CategoryEncoder:
        return CategoryEncoder(self, name=name, dtype=dtype)


@keras.saving.register_keras_serializable("ml4ir_losses")
class CategoryEncoder(IdEncoder):
    """Embedding of a category."""

    def __init__(self, fitted: FittedCategorical | Mapping[str, Any], **kwargs: Any) -> None:
        fitted = FittedCategorical.model_validate(fitted)
        super().__init__(fitted, fitted.num_buckets or max(len(fitted.vocabulary), 1) + 1, fitted.lookup, **kwargs)
