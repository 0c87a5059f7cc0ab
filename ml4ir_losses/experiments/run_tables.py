"""The CSV files of a run folder as columns, for files that may be damaged."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.checksums import run_file
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.memory import available_memory

_GROWTH = 16  # memory per byte of a file
LARGEST = float(np.finfo("float32").max)


def read_columns(folder: Path, name: str) -> dict[str, list[str]]:
    """The cells of each column of a CSV file of a run folder; no columns if there is no such file.

    Raises:
        UserError: for a file that cannot be read as such, or does not fit into memory.
    """
    free = available_memory()
    file = run_file(folder, name, None if free is None else free // _GROWTH)
    if not file.exists():
        return {}
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            header, *rows = list(csv.reader(stream)) or [[]]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{file}: cannot be read ({error}).") from None
    wrong = next((i for i, row in enumerate(rows, 2) if len(row) != len(header)), None)
    if wrong is not None or len(set(header)) < len(header):
        where = (
            "the header names a column twice" if wrong is None else f"row {wrong} has not as many cells as the header"
        )
        raise DataError(f"{file}: is damaged: {where}.")
    return {name: [row[i] for row in rows] for i, name in enumerate(header)}


def as_numbers(folder: Path, name: str, columns: Mapping[str, Sequence[str]]) -> dict[str, Array]:
    """Columns of a file as float64; an empty cell is NaN.

    Raises:
        DataError: for a cell that is no number, or one beyond the range of float32, which no run writes.
    """
    try:
        found = {key: np.array([float(cell) if cell else np.nan for cell in cells]) for key, cells in columns.items()}
    except ValueError as error:
        raise DataError(f"{folder / name}: is damaged: {error}.") from None
    for key, values in found.items():
        check_range(folder / name, key, values)
    return found


def check_range(file: Path, column: str, values: Array) -> None:
    """Raises `DataError` for numbers of a column that are beyond the range of float32."""
    if (np.isfinite(values) & (np.abs(values) > LARGEST)).any():
        raise DataError(f"{file}: is damaged: a number of column {column!r} is too large.")
