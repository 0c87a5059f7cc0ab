"""Inputs of type `numeric`: columns of numbers, filled and transformed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from ml4ir_losses.config.inputs import NumericInput
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.core.registry import TRANSFORMS
from ml4ir_losses.data.table import Table
from ml4ir_losses.features.fitted import Accumulator, FittedInput
from ml4ir_losses.features.input_encoder import InputEncoder
from ml4ir_losses.features.moments import Moments
from ml4ir_losses.features.query_ranks import query_rank
from ml4ir_losses.features.transforms import apply_transforms, fit_transforms, fitted_state


class NumericAccumulator(Accumulator):
    """Keeps the moments of the columns, and the values of rows where a median or quantiles are fitted.

    `standardise` is exact in any number of chunks, if the transforms before it need no fitting.
    """

    config: NumericInput

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
        self.kept: list[Array] = []

    @property
    def keeps_rows(self) -> bool:
        return self.needs_rows

    def update(self, table: Table, sample: Array | None) -> None:
        kept = table.matrix(self.columns)
        x = kept.astype("float64")
        self.rows += len(x)
        if self.config.missing == "mean":
            self.moments = _added(self.moments, x)
        if self.first is not None:
            self.transformed = _added(self.transformed, apply_transforms(x, self.direct, np))
        if self.keeps_rows:
            self.kept.append(kept if sample is None else kept[sample])

    def result(self) -> FittedNumeric:
        x = np.concatenate(self.kept).astype("float64") if self.kept else np.empty((0, len(self.columns)))
        fill = self._fill(x)
        return FittedNumeric(
            name=self.config.name,
            scope=self.config.scope,
            columns=self.columns,
            fill=[float(value) for value in fill],
            transforms=self._transforms(np.where(np.isnan(x), fill, x), fill),
            missing_indicator=self.config.missing_indicator,
            query_rank=self.config.query_rank,
        )

    def _fill(self, x: Array) -> Array:
        """The value that replaces a missing cell in each column; 0 where a column has no value."""
        missing = self.config.missing
        if isinstance(missing, (int, float)):
            return np.full(len(self.columns), float(missing))
        if self.moments is not None:
            return self.moments.mean
        if missing == "zero" or not len(x):
            return np.zeros(len(self.columns))
        return np.nanmedian(np.where(np.isnan(x).all(axis=0), 0.0, x), axis=0)

    def _transforms(self, x: Array, fill: Array) -> list[dict[str, Any]]:
        """The fitted transforms; x holds the kept rows without missing cells."""
        fitted = list(self.direct)
        if self.first is not None and self.transformed is not None:
            filled = apply_transforms(fill[None], self.direct, np)[0]
            moments = self.transformed + Moments.constant(filled, self.rows - self.transformed.count)
            fitted.append(fitted_state(self.config.transforms[self.before], self.first.fit_moments(moments)))
        return fitted + fit_transforms(apply_transforms(x, fitted, np), self.config.transforms[self.after :])


def _added(moments: Moments | None, x: Array) -> Moments:
    return Moments.of(x) if moments is None else moments + Moments.of(x)


class FittedNumeric(FittedInput):
    """Numeric columns: what replaces their missing cells, and their fitted transforms."""

    type: Literal["numeric"] = "numeric"
    fill: list[float] = []
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
        return self.query_rank

    def encode(self, table: Table) -> Array:
        return table.matrix(self.columns)

    def empty(self, shape: tuple[int, ...]) -> Array:
        return np.zeros((*shape, len(self.columns)), "float32")

    def encoder(self, name: str, dtype: Any) -> NumericEncoder:
        return NumericEncoder(self, name=name)


@keras.saving.register_keras_serializable("ml4ir_losses")
class NumericEncoder(InputEncoder):
    """Fills missing cells and applies the transforms, in float32 under any precision policy."""

    def __init__(self, fitted: FittedNumeric | Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(FittedNumeric.model_validate(fitted), **{"dtype": "float32", **kwargs})
        self.fill = np.asarray(self.fitted.fill, "float32")

    @property
    def width(self) -> int:
        fitted: FittedNumeric = self.fitted
        return len(fitted.columns) * (1 + fitted.missing_indicator + fitted.query_rank)

    def raw(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        x = ops.cast(x, "float32")
        if len(self.fitted.columns) == 1 and len(x.shape) == (2 if self.fitted.scope == "document" else 1):
            x = x[..., None]
        filled = fill_missing(x, self.fill)
        parts = [apply_transforms(filled, self.fitted.transforms, ops)]
        if self.fitted.missing_indicator:
            parts.append(ops.cast(ops.isnan(x), filled.dtype))
        if self.fitted.query_rank:
            parts.append(query_rank(filled, valid))
        return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=-1)


def fill_missing(x: Tensor, fill: Any) -> Tensor:
    """x with NaN replaced by `fill`."""

    def filled() -> Tensor:
        return ops.where(ops.isnan(x), fill, x)

    if keras.backend.backend() != "tensorflow":
        return filled()
    # Most batches have no missing values: a sum, NaN if any value is NaN, is cheaper than a copy of x.
    return ops.cond(ops.isnan(ops.sum(x)), filled, lambda: x)
