"""Inputs of type `numeric`: columns of numbers, filled and transformed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from ml4ir_losses.config.inputs import Numbers
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.core.registry import TRANSFORMS
from ml4ir_losses.data.table import Table
from ml4ir_losses.features.fitted import Accumulator, ColumnType, FittedInput
from ml4ir_losses.features.input_encoder import InputEncoder
from ml4ir_losses.features.moments import Moments
from ml4ir_losses.features.transforms import (
    apply_transforms,
    depends_on_query,
    fill_values,
    fit_transforms,
    fitted_state,
    transformed_width,
)
from ml4ir_losses.features.within_query import HUGE, query_minimum, query_rank
from ml4ir_losses.ops.backend import is_backend, is_portable


class NumericAccumulator(Accumulator):
    """Keeps the moments of the columns, and the values of rows where a median or quantiles are fitted.

    `standardise` is exact in any number of chunks, if the transforms before it need no fitting.
    """

    config: Numbers

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        transforms = [TRANSFORMS.create(spec) for spec in self.config.transforms]
        needs = [transform.needs for transform in transforms]
        self.before = next((i for i, need in enumerate(needs) if need != "nothing"), len(needs))
        self.direct = [
            fitted_state(spec, transform.fit(np.empty((0, 0))))
            for spec, transform in zip(self.config.transforms[: self.before], transforms, strict=False)
        ]
        self.first = transforms[self.before] if needs[self.before :][:1] == ["moments"] else None
        self.after = self.before + (self.first is not None)
        self.needs_rows = self.config.missing == "median" or any(need != "nothing" for need in needs[self.after :])
        self.rows = 0
        self.moments: Moments | None = None  # of the cells as they are, for their mean
        self.transformed: Moments | None = None  # of the cells that the first fitted transform reads

    @property
    def keeps_rows(self) -> bool:
        return self.needs_rows

    def update(self, table: Table, sample: Array | None) -> None:
        self.add_values(table.matrix(self.columns), sample)

    def add_values(self, values: Array, sample: Array | None) -> None:
        """Adds the cells of rows, [rows, columns]; NaN is missing."""
        x = values.astype("float64")
        self.rows += len(x)
        if self.config.missing in ("mean", "query_min"):
            self.moments = _added(self.moments, x)
        if self.first is not None:
            y = apply_transforms(x, self.direct, np)
            missing = np.tile(np.isnan(x), y.shape[1] // x.shape[1])
            self.transformed = _added(self.transformed, np.where(missing, np.nan, y))
        if self.keeps_rows:
            self.keep(values, sample)

    def result(self) -> FittedNumeric:
        x = np.concatenate(self.kept).astype("float64") if self.kept else np.empty((0, len(self.columns)))
        missing = self.config.missing
        fill = fill_values(x, missing) if self.moments is None else self.moments.fill(str(missing))
        return FittedNumeric(
            name=self.config.name,
            scope=self.config.scope,
            columns=self.columns,
            fill=[float(value) for value in fill],
            transforms=self._transforms(np.where(np.isnan(x), fill, x), fill),
            fill_from_query=missing == "query_min",
            missing_indicator=self.config.missing_indicator,
            query_rank=self.config.query_rank,
        )

    def _transforms(self, x: Array, fill: Array) -> list[dict[str, Any]]:
        """The fitted transforms; x holds the kept rows without missing cells."""
        fitted = list(self.direct)
        if self.first is not None and self.transformed is not None:
            filled = apply_transforms(fill[None], self.direct, np)[0]
            moments = self.transformed + Moments.constant(filled, self.rows - self.transformed.count)
            fitted.append(fitted_state(self.config.transforms[self.before], self.first.fit_moments(moments)))
        others = self.config.transforms[self.after :]
        return fitted + fit_transforms(apply_transforms(x, fitted, np), others) if others else fitted


def _added(moments: Moments | None, x: Array) -> Moments:
    return Moments.of(x) if moments is None else moments + Moments.of(x)


class FittedNumeric(FittedInput):
    """Numeric columns: what replaces their missing cells, and their fitted transforms."""

    type: Literal["numeric"] = "numeric"
    fill: list[float] = []
    fill_from_query: bool = False
    transforms: list[dict[str, Any]] = []
    missing_indicator: bool = False
    query_rank: bool = False

    @property
    def numbers(self) -> list[str]:
        return self.columns

    @property
    def features(self) -> list[str]:
        return self.columns

    @property
    def reads_list(self) -> bool:
        return self.query_rank or self.fill_from_query or depends_on_query(self.transforms)

    def encode(self, table: Table) -> Array:
        return table.matrix(self.columns)

    @property
    def column_types(self) -> dict[str, ColumnType]:
        return {column: ColumnType("float32", scope=self.scope) for column in self.columns}

    def from_columns(self, columns: Mapping[str, Tensor]) -> Tensor:
        return ops.stack([columns[column] for column in self.columns], axis=-1)

    def made_up(self, rows: int, rng: np.random.Generator) -> dict[str, Any]:
        spread = np.maximum(np.abs(self.fill), 1.0)
        centre: Any = self.fill
        if self.transforms and "scale" in self.transforms[0]:
            centre, spread = self.transforms[0]["centre"], self.transforms[0]["scale"]
        cells = np.asarray(centre) + rng.normal(size=(rows, len(self.columns))) * spread
        cells[rng.random(cells.shape) < 0.1] = np.nan
        return dict(zip(self.columns, cells.T, strict=True))

    def empty(self, shape: tuple[int, ...]) -> Array:
        return np.zeros((*shape, len(self.columns)), "float32")

    def encoder(self, name: str, dtype: Any) -> NumericEncoder:
        return NumericEncoder(self, name=name)


@keras.saving.register_keras_serializable("ml4ir_losses")
class NumericEncoder(InputEncoder):
    """Fills missing cells and applies the transforms, in float32 under any precision policy; the result is finite."""

    def __init__(self, fitted: FittedNumeric | Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(FittedNumeric.model_validate(fitted), **{"dtype": "float32", **kwargs})
        self.fill = np.asarray(self.fitted.fill, "float32")
        if len(self.fill) != len(self.fitted.columns):  # of a saved model: it would be stretched to any width
            raise UserError(
                f"input {self.fitted.name!r}: `fill` needs a number for each of {len(self.fitted.columns)} columns. "
                f"Received: {len(self.fill)}."
            )

    @property
    def width(self) -> int:
        fitted: FittedNumeric = self.fitted
        columns = len(fitted.columns)
        return transformed_width(columns, fitted.transforms) + columns * (fitted.missing_indicator + fitted.query_rank)

    def raw(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        x = ops.cast(x, "float32")
        if len(self.fitted.columns) == 1 and len(x.shape) == (2 if self.fitted.scope == "document" else 1):
            x = ops.expand_dims(x, -1)
        filled = finite(x, lambda: self._filled(x, valid))
        parts = [filled]
        if self.fitted.transforms:
            transformed = apply_transforms(filled, self.fitted.transforms, ops, valid)
            parts = [finite(transformed, lambda: ops.clip(transformed, -HUGE, HUGE))]
        if self.fitted.missing_indicator:
            parts.append(ops.cast(ops.isnan(x), filled.dtype))
        if self.fitted.query_rank:
            parts.append(query_rank(filled, valid))
        return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=-1)

    def _filled(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """x without missing cells and infinities."""
        present = ops.logical_not(ops.isnan(x))
        bounded = ops.where(present, ops.clip(x, -HUGE, HUGE), x)
        fill = query_minimum(bounded, valid, self.fill) if self.fitted.fill_from_query else self.fill
        return ops.where(present, bounded, fill)


def finite(x: Tensor, repaired: Callable[[], Tensor]) -> Tensor:
    """x if all of it is finite, else `repaired()`."""
    if not is_backend("tensorflow") or is_portable():
        return repaired()
    # Most batches are: a sum, NaN or infinite if any value is, is cheaper than a copy of x.
    return ops.cond(ops.isfinite(ops.sum(x)), lambda: x, repaired)
