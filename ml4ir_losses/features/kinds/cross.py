"""Inputs of type `cross`: the values of several columns as one category, hashed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml4ir_losses.config.category_inputs import CrossInput
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.data.feeding import import_tensorflow
from ml4ir_losses.data.table import Table
from ml4ir_losses.features.fitted import Accumulator, FittedInput
from ml4ir_losses.features.hashing import buckets, hashed
from ml4ir_losses.features.input_encoder import IdEncoder
from ml4ir_losses.features.lists import check_single
from ml4ir_losses.features.strings import encode_distinct, made_up_values

_BETWEEN = "\x1f"  # ASCII's separator of units: "a", "bc" is another cross than "ab", "c"


class CrossAccumulator(Accumulator):
    """There is nothing to fit."""

    config: CrossInput

    def update(self, table: Table, sample: Array | None) -> None:
        for column in self.columns:
            check_single(table, column)

    def result(self) -> FittedCross:
        return FittedCross(
            name=self.config.name,
            scope=self.config.scope,
            columns=self.columns,
            num_buckets=self.config.num_buckets,
            embedding_dim=self.config.embedding_dim,
        )


class FittedCross(FittedInput):
    """The bucket of the values of all columns together; a missing value counts as a value.

    Inside a model the values are strings [..., columns].
    """

    type: Literal["cross"] = "cross"
    num_buckets: int = 0
    embedding_dim: int = 16

    def encode(self, table: Table) -> Array:
        parts = [pa.array(table.strings(column), pa.large_string()) for column in self.columns]
        return encode_distinct(pc.binary_join_element_wise(*parts, pa.scalar(_BETWEEN, pa.large_string())), self.ids)

    def ids(self, values: Sequence[str]) -> Array:
        """Buckets of joined values, [values]."""
        return hashed(values, self.num_buckets)

    def from_columns(self, columns: Mapping[str, Tensor]) -> Tensor:
        return import_tensorflow().stack([columns[column] for column in self.columns], axis=-1)

    def made_up(self, rows: int, rng: np.random.Generator) -> dict[str, Any]:
        return {column: made_up_values((), rows, rng) for column in self.columns}

    def empty(self, shape: tuple[int, ...]) -> Array:
        return np.zeros(shape, "int32")

    def encoder(self, name: str, dtype: Any) -> CrossEncoder:
        return CrossEncoder(self, name=name, dtype=dtype)


@keras.saving.register_keras_serializable("ml4ir_losses")
class CrossEncoder(IdEncoder):
    """Embedding of a cross."""

    def __init__(self, fitted: FittedCross | Mapping[str, Any], **kwargs: Any) -> None:
        fitted = FittedCross.model_validate(fitted)
        super().__init__(fitted, fitted.num_buckets, lambda: None, **kwargs)

    def look_up(self, x: Tensor) -> Tensor:
        joined = import_tensorflow().strings.reduce_join(x, axis=-1, separator=_BETWEEN)
        return buckets(joined, self.fitted.num_buckets)
