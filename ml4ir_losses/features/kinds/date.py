"""Inputs of type `date`: the age of a date or time in days, and its cyclic parts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from ml4ir_losses.config.inputs import DateInput
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.data.table import Table
from ml4ir_losses.features.fitted import Accumulator, ColumnType, FittedInput
from ml4ir_losses.features.input_encoder import InputEncoder
from ml4ir_losses.features.kinds.numeric import FittedNumeric, NumericAccumulator, NumericEncoder

DAY = 86_400.0
YEAR_10000 = 253_402_300_800.0


class DateAccumulator(Accumulator):
    """Finds the newest date, and fits the ages as numbers; relative to the newest they are those of the kept rows."""

    config: DateInput

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.ages = NumericAccumulator(*args)
        self.ages.columns = [self.config.name]
        self.newest = -math.inf

    @property
    def is_relative(self) -> bool:
        """True if ages count from the newest date, which is known in the end."""
        return self.config.reference == "newest"

    @property
    def keeps_rows(self) -> bool:
        return self.ages.keeps_rows or self.is_relative

    def update(self, table: Table, sample: Array | None) -> None:
        times = read_times(table, self.columns)
        if self.is_relative:
            self.newest = max(self.newest, float(np.nanmax(times, initial=-math.inf)))
            self.keep(times[:, 0], sample)
        else:
            reference = self.config.reference_time
            self.ages.add_values(_ages(times[:, 0], times[:, 1] if reference is None else reference), sample)

    def thin(self, stay: Array) -> None:
        super().thin(stay)
        self.ages.thin(stay)

    def result(self) -> FittedDate:
        reference = self.config.reference_time
        if self.is_relative:
            reference = self.newest if self.newest > -math.inf else 0.0
            self.ages.add_values(_ages(np.concatenate(self.kept), reference), None)
        return FittedDate(
            name=self.config.name,
            scope=self.config.scope,
            columns=self.columns,
            parts=self.config.parts,
            reference=reference,
            age=self.ages.result(),
        )


def _ages(times: Array, reference: Array | float) -> Array:
    """Days from each time to the reference, [rows, 1]."""
    return ((reference - times) / DAY)[:, None]


class FittedDate(FittedInput):
    """The column of a date, then that of the reference unless `reference`, seconds since 1970, is fixed.

    Its array has two numbers for each column, [rows, 2 columns]: the day since 1970, and the second of the day, which
    float32 can hold.
    """

    type: Literal["date"] = "date"
    parts: list[str]
    reference: float | None = None
    age: FittedNumeric

    @property
    def cyclic(self) -> list[str]:
        """The parts that are sines and cosines."""
        return [part for part in self.parts if part != "age"]

    @property
    def reads_list(self) -> bool:
        return "age" in self.parts and self.age.reads_list

    def rankings(self, values: Array) -> dict[str, Array]:
        return {self.columns[0]: values[:, 0] + values[:, 1] / np.float32(DAY)}

    def encode(self, table: Table) -> Array:
        times = read_times(table, self.columns)
        days = np.floor(times / DAY)
        return np.stack([days, times - days * DAY], axis=-1).reshape(len(times), -1).astype("float32")

    @property
    def column_types(self) -> dict[str, ColumnType]:
        return {column: ColumnType("float64", scope=self.scope) for column in self.columns}

    def from_columns(self, columns: Mapping[str, Tensor]) -> Tensor:
        parts = []
        for column in self.columns:
            days = ops.floor(columns[column] / DAY)
            parts += [days, columns[column] - days * DAY]
        return ops.cast(ops.stack(parts, axis=-1), "float32")

    def made_up(self, rows: int, rng: np.random.Generator) -> dict[str, Any]:
        newest = 1.7e9 if self.reference is None else self.reference
        cells = np.floor(newest - 1000 * DAY * rng.random((rows, len(self.columns))))
        cells[rng.random(cells.shape) < 0.1] = np.nan
        return dict(zip(self.columns, cells.T, strict=True))

    def empty(self, shape: tuple[int, ...]) -> Array:
        return np.zeros((*shape, 2 * len(self.columns)), "float32")

    def encoder(self, name: str, dtype: Any) -> DateEncoder:
        return DateEncoder(self, name=name)


def read_times(table: Table, columns: list[str]) -> Array:
    """Seconds since 1970, [rows, columns]; a missing cell is NaN."""
    times = np.stack([table.times(column) for column in columns], axis=1)
    wrong = np.argwhere(np.abs(times) > YEAR_10000)
    if len(wrong):
        row, column = wrong[0]
        raise DataError(
            f"{table.locate(int(row))}, column {columns[column]!r}: {times[row, column]:.0f} seconds since 1970 are "
            "beyond the year 9999; numbers must count seconds, not milliseconds."
        )
    return times


@keras.saving.register_keras_serializable("ml4ir_losses")
class DateEncoder(InputEncoder):
    """The age as a numeric input, then sine and cosine of each cyclic part; those of a missing date are 0."""

    def __init__(self, fitted: FittedDate | Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(FittedDate.model_validate(fitted), **{"dtype": "float32", **kwargs})
        self.age = NumericEncoder(self.fitted.age, name="age") if "age" in self.fitted.parts else None

    @property
    def width(self) -> int:
        return (self.age.width if self.age else 0) + 2 * len(self.fitted.cyclic)

    def raw(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        x = ops.cast(x, "float32")
        day, second = x[..., 0], x[..., 1]
        parts = []
        if self.age is not None:
            parts.append(self.age.raw(ops.expand_dims(self._age(x), -1), valid))
        missing = ops.isnan(day + second)
        for name in self.fitted.cyclic:
            turn = PARTS[name](ops.where(missing, 0.0, day), ops.where(missing, 0.0, second))
            angles = [ops.sin(2.0 * math.pi * turn), ops.cos(2.0 * math.pi * turn)]
            parts.append(ops.where(ops.expand_dims(missing, -1), 0.0, ops.stack(angles, axis=-1)))
        return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=-1)

    def _age(self, x: Tensor) -> Tensor:
        """Days from the date to the reference."""
        if self.fitted.reference is None:
            day, second = x[..., 2], x[..., 3]
        else:
            day = math.floor(self.fitted.reference / DAY)
            second = self.fitted.reference - day * DAY
        return (day - x[..., 0]) + (second - x[..., 1]) / DAY


def _hour(day: Tensor, second: Tensor) -> Tensor:
    return second / DAY


def _weekday(day: Tensor, second: Tensor) -> Tensor:
    return ops.mod(day + 3.0, 7.0) / 7.0  # 1970 began on a Thursday


def _month(day: Tensor, second: Tensor) -> Tensor:
    days, _ = _since_march(day)
    month = ops.floor_divide(5 * days + 2, 153)  # 0 is March
    return ops.cast(ops.mod(month + 2, 12), "float32") / 12.0


def _day_of_year(day: Tensor, second: Tensor) -> Tensor:
    days, year = _since_march(day)
    is_leap = ops.logical_and(year % 4 == 0, ops.logical_or(year % 100 != 0, year == 0))
    since_january = ops.where(days < 306, days + 59 + ops.cast(is_leap, "int32"), days - 306)
    return ops.cast(since_january, "float32") / 366.0


PARTS = {"hour": _hour, "weekday": _weekday, "month": _month, "day_of_year": _day_of_year}
"""Each cyclic part as a share of its cycle, 0 to 1, from the day since 1970 and the second of the day."""


def _since_march(day: Tensor) -> tuple[Tensor, Tensor]:
    """Days since the last 1st of March, and the year of that day within its 400 years.

    Source: Richards, "Mapping time: the calendar and its history" (1998), with years that begin in March.
    """
    days = ops.cast(ops.clip(day, -4e6, 4e6), "int32") + 719_468  # the day 0 is 1970-01-01
    days = ops.mod(days, 146_097)
    year = (days - days // 1_460 + days // 36_524 - days // 146_096) // 365
    return days - (365 * year + year // 4 - year // 100), year
