"""What every kind of input offers: an accumulator that fits it from tables, and the fitted input that a model holds."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
from pydantic import BaseModel

from ml4ir_losses.config.input_base import Scope
from ml4ir_losses.config.inputs import FeatureConfig
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.data.table import Table
from ml4ir_losses.features.input_encoder import InputEncoder


class ColumnType(NamedTuple):
    """What a tensor holds of a column: [B, N, ...] of documents, [B, ...] of queries.

    Attributes:
        dtype: `string`, where "" is missing; `float32`, where NaN is; `float64` for seconds since 1970.
        shape: the shape of a cell; None is a size that may differ.
        scope: `document` or `query`.
        separator: splits a text into the values of a vector.
    """

    dtype: str
    shape: tuple[int | None, ...] = ()
    scope: Scope = "document"
    separator: str | None = None


class FittedInput(BaseModel):
    """A model input: its columns, and the values fitted on the training split.

    A kind of input is a module in `kinds` with a subclass of this class, an `Accumulator` that makes it, and an
    `InputEncoder` that reads it inside the model.
    """

    name: str
    type: str
    scope: Scope = "document"
    columns: list[str]

    @property
    def numbers(self) -> list[str]:
        """The column of each number in the arrays of `encode`, [rows, numbers]; empty if they hold no plain numbers."""
        return []

    def rankings(self, values: Array) -> dict[str, Array]:
        """Numbers that documents can be ranked by, [rows] each, from an array of `encode`; NaN if they are missing."""
        return {name: values[:, i] for i, name in enumerate(self.numbers)}

    @property
    def features(self) -> list[str]:
        """The names of the features in the encoded tensor; they take turns: the second of three is at 1, 4, 7, ..."""
        return [self.name]

    @property
    def reads_list(self) -> bool:
        """True if the features of a document depend on the other documents of its query."""
        return False

    @property
    def keeps_lists(self) -> bool:
        """True if the cells of its column may be lists of values."""
        return False

    @property
    def splits_texts(self) -> bool:
        """True if a cell of a document may be a text that is split into a list."""
        return getattr(self, "separator", None) is not None and self.scope == "document"

    def unknown(self, table: Table) -> tuple[int, int]:
        """The numbers of unknown values and of all values; 0, 0 if no value can be unknown."""
        return 0, 0

    def encode(self, table: Table) -> Array:
        """The model's input for each row, [rows, ...]: floats with NaN for missing cells, or ids."""
        raise NotImplementedError

    @property
    def column_types(self) -> dict[str, ColumnType]:
        """What the tensor of each column holds, from which `from_columns` makes the model's input."""
        return {column: ColumnType("string", scope=self.scope) for column in self.columns}

    def from_columns(self, columns: Mapping[str, Tensor]) -> Tensor:
        """The model's input as a TensorFlow tensor, strings among them, from the tensors of its columns."""
        return columns[self.columns[0]]

    def made_up(self, rows: int, rng: np.random.Generator) -> dict[str, Any]:
        """Cells of each column such as the training split may have had, missing and unknown values among them."""
        raise NotImplementedError

    def empty(self, shape: tuple[int, ...]) -> Array:
        """The input of documents without content, [*shape, ...]."""
        raise NotImplementedError

    def encoder(self, name: str, dtype: Any) -> InputEncoder:
        """The layer that turns the input into features; `dtype` is the policy of its trained parts."""
        raise NotImplementedError


class Accumulator:
    """Fits an input from tables, added chunk by chunk; all have the columns of the first.

    Counts, means, variances and extreme values are exact. With `keeps_rows` the others (medians, quantiles) are those
    of the rows that `add` is told to keep: memory grows with them.
    """

    columns: list[str]

    def __init__(self, config: Any, features: FeatureConfig) -> None:
        self.config, self.all_inputs = config, features
        self.columns = []
        self.counts: Counter[str] = Counter()  # of strings, for kinds that have a vocabulary
        self.undercount = 0  # by how much the counts may be too low
        self.kept: list[Array] = []  # of the rows that `add` is told to keep, for kinds that need their values

    @property
    def keeps_rows(self) -> bool:
        """True if something is fitted that needs the values of rows."""
        return False

    def share(self, accumulators: Mapping[str, Accumulator]) -> None:
        """Lets the input be fitted together with another one; `accumulators` by the names of the inputs."""

    def add(self, table: Table, sample: Array | None = None) -> Self:
        """Adds rows; `sample` [rows] marks those of a uniform sample of all rows, None: every row is kept.

        Raises:
            DataError: for a column that the data lack, with the nearest one.
        """
        self.columns = self.columns or input_columns(self.config, self.all_inputs, table)
        self.update(table, sample)
        return self

    def update(self, table: Table, sample: Array | None) -> None:
        """Takes the rows into account."""
        raise NotImplementedError

    def keep(self, values: Array, sample: Array | None) -> None:
        """Keeps the values [rows, ...] of the rows of the sample."""
        self.kept.append(values if sample is None else values[sample])

    def thin(self, stay: Array) -> None:
        """Keeps only some of the rows that are kept, by a mask [kept rows]."""
        if self.kept:
            self.kept = [np.concatenate(self.kept)[stay]]

    def drop_rare(self, limit: int) -> None:
        """Drops the rarest strings where more than twice `limit` are counted; later ones are counted from 0 again."""
        if len(self.counts) > 2 * limit:
            frequent = self.counts.most_common(limit)
            self.undercount += frequent[-1][1]
            self.counts.clear()  # in place: inputs may share it
            self.counts.update(dict(frequent))

    def result(self) -> FittedInput:
        """The input, fitted on all rows that were added."""
        raise NotImplementedError


def input_columns(config: Any, features: FeatureConfig, table: Table) -> list[str]:
    """The columns of an input; a glob matches those that have no role and no input of their own."""
    columns = list(config.read_columns)
    if config.is_glob and columns[0] not in table:
        used = features.roles.union(*(other.claimed for other in features.inputs))
        matching = [name for name in table.names if fnmatch.fnmatchcase(name, columns[0]) and name not in used]
        if matching:
            return matching
    for name in columns:
        table.require(name, "features.inputs")
    return columns
