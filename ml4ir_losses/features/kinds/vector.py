"""Inputs of type `vector`: a column of lists of numbers, such as embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NoReturn

import keras
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from keras import ops

from ml4ir_losses.config.category_inputs import VectorInput
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.data.table import Table
from ml4ir_losses.features.fitted import Accumulator, ColumnType, FittedInput
from ml4ir_losses.features.input_encoder import InputEncoder
from ml4ir_losses.features.lists import list_items


class VectorAccumulator(Accumulator):
    """Takes the size from the first vector, and checks the others."""

    config: VectorInput
    size = 0

    def update(self, table: Table, sample: Array | None) -> None:
        self.size = read_vectors(table, self.columns[0], self.config.separator, self.size).shape[1]

    def result(self) -> FittedVector:
        if not self.size:
            raise DataError(f"features.inputs: no row has a vector in the column {self.columns[0]!r}.")
        return FittedVector(
            name=self.config.name,
            scope=self.config.scope,
            columns=self.columns,
            separator=self.config.separator,
            size=self.size,
            normalise=self.config.normalise,
        )


class FittedVector(FittedInput):
    """A vector per document; NaN where it is missing."""

    type: Literal["vector"] = "vector"
    separator: str | None = None
    size: int = 0
    normalise: bool = False

    @property
    def keeps_lists(self) -> bool:
        return True

    def encode(self, table: Table) -> Array:
        return read_vectors(table, self.columns[0], self.separator, self.size)

    @property
    def column_types(self) -> dict[str, ColumnType]:
        return {self.columns[0]: ColumnType("float32", (self.size,), self.scope, self.separator)}

    def made_up(self, rows: int, rng: np.random.Generator) -> dict[str, Any]:
        vectors = rng.normal(size=(rows, self.size)).astype("float32")
        missing = rng.random(rows) < 0.1
        return {self.columns[0]: [None if is_missing else v for v, is_missing in zip(vectors, missing, strict=True)]}

    def empty(self, shape: tuple[int, ...]) -> Array:
        return np.zeros((*shape, self.size), "float32")

    def encoder(self, name: str, dtype: Any) -> VectorEncoder:
        return VectorEncoder(self, name=name)


@keras.saving.register_keras_serializable("ml4ir_losses")
class VectorEncoder(InputEncoder):
    """The vector, divided by its length if `normalise`, in float32 under any precision policy; a missing one is 0."""

    def __init__(self, fitted: FittedVector | Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(FittedVector.model_validate(fitted), **{"dtype": "float32", **kwargs})

    @property
    def width(self) -> int:
        return int(self.fitted.size)

    def raw(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        x = ops.where(ops.isnan(x), 0.0, x)
        if not self.fitted.normalise:
            return x
        largest = ops.max(ops.abs(x), axis=-1, keepdims=True)  # its square may be beyond float32
        scaled = x / ops.where(largest > 0, largest, 1.0)
        return scaled / ops.sqrt(ops.maximum(ops.sum(scaled * scaled, axis=-1, keepdims=True), 1.0))


def read_vectors(table: Table, column: str, separator: str | None, size: int) -> Array:
    """The vectors of a column, [rows, size] float32, NaN where the cell is missing; a size of 0 is that of the first.

    Raises:
        DataError: with the row, for a vector of another length, or with something else than finite numbers.
    """
    items, row, place = list_items(table, column, separator)
    sizes = np.bincount(row, minlength=len(table))
    size = size or int(sizes[row[0]] if len(row) else 0)
    wrong = np.flatnonzero((sizes != size) & (sizes != 0))
    if len(wrong):
        received = f"a vector of {sizes[wrong[0]]} numbers; the first one has {size}"
        _refuse(table, column, int(wrong[0]), received)
    try:
        if pa.types.is_string(items.type) or pa.types.is_large_string(items.type):
            items = pc.utf8_trim_whitespace(items)
        numbers = pc.cast(items, pa.float64()).to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        numbers = np.array([_number(item) for item in items.to_pylist()], float)
    with np.errstate(over="ignore"):
        vectors = np.full((len(table), size), np.nan, "float32")
        vectors[row, place] = numbers
    wrong = np.flatnonzero(~np.isfinite(vectors[row, place]))
    if len(wrong):
        item = items[int(wrong[0])].as_py()
        _refuse(table, column, int(row[wrong[0]]), f"{item!r:.60} is not a finite number of float32")
    return vectors


def _number(item: Any) -> float:
    try:
        return float(item)
    except (TypeError, ValueError):
        return float("nan")


def _refuse(table: Table, column: str, row: int, reason: str) -> NoReturn:
    raise DataError(f"{table.locate(row)}, column {column!r}: {reason}")
