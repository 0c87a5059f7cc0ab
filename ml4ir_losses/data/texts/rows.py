"""Checked rows of text columns, and their batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ml4ir_losses.config.in_memory import Paths
from ml4ir_losses.config.text_schema import Column, DatasetConfig, TextDataConfig, listed
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.data.batchings.base import Batching, Pairs
from ml4ir_losses.data.nested import has_lists, unnest, vectors
from ml4ir_losses.data.readers import read_files
from ml4ir_losses.data.sharding import EVERY
from ml4ir_losses.data.table import Table
from ml4ir_losses.data.texts.teacher import teacher_values


@dataclass
class TextRows:
    """The rows of a data set.

    Attributes:
        texts: strings [rows] of each column of y_pred.
        labels: [rows], strings as in the file, or None.
        teacher: numbers of the teacher [rows, n] or, from nested lists, [rows, ...]; or None.
        weight: [rows], or None.
        source: the file, for messages.
        locate: the file and line of a row.
    """

    texts: list[list[str]]
    labels: list[str] | None
    teacher: Array | None
    weight: Array | None
    source: str
    locate: Callable[[int], str]

    def __len__(self) -> int:
        return len(self.texts[0])

    def numbers(self) -> Array:
        """The labels as float32.

        Raises:
            DataError: for the first label that is not a finite number, with its line.
        """
        values = np.empty(len(self), dtype="float32")
        for row, cell in enumerate(self.labels or []):
            try:
                values[row] = float(cell)
            except ValueError:
                values[row] = np.nan
            if not np.isfinite(values[row]):
                raise DataError(f"{self.locate(row)}: the label must be a finite number. Received: {cell!r}.")
        return values


def read_texts(data: TextDataConfig, paths: Paths) -> Table:
    """The table of the files at paths of the data section."""
    return read_files(data.paths(paths), data.format, data.options)


def column_texts(table: Table, column: Column, path: str) -> list[str]:
    """The texts of a column, or of several columns joined by a space.

    Raises:
        DataError: for a missing column, with the nearest column.
    """
    names = listed(column)
    for name in names:
        table.require(name, path)
    cells = [list(table.strings(name)) for name in names]
    return cells[0] if len(cells) == 1 else [" ".join(filter(None, row)) for row in zip(*cells, strict=True)]


def make_rows(
    table: Table, config: DatasetConfig, path: str = "data.columns", teacher_file: str | None = None
) -> TextRows:
    """The rows of a table, without those where a text is empty; the number of skipped rows is logged.

    Args:
        table: a row per row of texts, or lists of texts.
        config: the columns.
        path: where the config names the columns, for messages.
        teacher_file: a .npy file with the teacher's values of each row, [rows, ...]; None: columns hold them, or none.

    Raises:
        DataError: for a missing column, weights or teacher values that are not numbers, and when no row is left.
    """
    columns = config.columns
    table = unnest(table, keep=listed(columns.get("teacher")))
    texts = [column_texts(table, columns[role], f"{path}.{role}") for role in config.texts]
    labels = column_texts(table, columns["label"], f"{path}.label") if "label" in columns else None
    numbers = {
        role: _numbers(table, listed(columns[role]), f"{path}.{role}")
        for role in ("teacher", "weight")
        if role in columns
    }
    if teacher_file is not None:
        numbers["teacher"] = teacher_values(teacher_file, len(table))
    if "weight" in numbers and (numbers["weight"] < 0).any():
        row = int(np.argmax((numbers["weight"] < 0).any(axis=1)))
        raise DataError(f"{table.locate(row)}: a weight must be at least 0. Received: {numbers['weight'][row, 0]:g}.")
    empty = np.array([any(not text.strip() for text in row) for row in zip(*texts, strict=True)], dtype=bool)
    kept = np.flatnonzero(~empty)
    if not len(kept):
        raise DataError(f"{table.source}: every row has an empty text ({', '.join(map(str, columns.values()))}).")
    if len(kept) < len(empty):
        first = table.locate(int(np.argmax(empty)))
        LOGGER.warning("%s: the text is empty; rows left out like this one: %d", first, empty.sum())
    return TextRows(
        texts=[[column[row] for row in kept] for column in texts],
        labels=None if labels is None else [labels[row] for row in kept],
        teacher=numbers["teacher"][kept].astype("float32") if "teacher" in numbers else None,
        weight=numbers["weight"][kept, 0].astype("float32") if "weight" in numbers else None,
        source=table.source,
        locate=lambda row: table.locate(int(kept[row])),
    )


def _numbers(table: Table, names: Sequence[str], path: str) -> Array:
    """The numbers of columns [rows, columns], or of one column of lists [rows, ...]."""
    for name in names:
        table.require(name, path)
    if len(names) == 1 and has_lists(table, names[0]):
        return vectors(table, names[0])
    return np.stack([table.numeric(name, missing=False) for name in names], axis=1)


@dataclass
class TokenRows:
    """Token ids of many texts in one array; text i holds offsets[i] to offsets[i + 1]."""

    ids: Array
    offsets: Array

    @cached_property
    def longest(self) -> int:
        """Tokens of the longest text."""
        return int(np.diff(self.offsets).max(initial=0))

    @classmethod
    def of(cls, texts: Sequence[str], ids: Callable[[str], list[int]]) -> TokenRows:
        """The ids of texts; equal texts are tokenized once."""
        known: dict[str, Array] = {}
        rows = [known[t] if t in known else known.setdefault(t, np.array(ids(t), dtype="int32")) for t in texts]
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype("int64")
        return cls(np.concatenate(rows) if rows else np.zeros(0, "int32"), offsets)

    def padded(self, rows: Array, multiple: int = 1, part: slice = EVERY) -> Array:
        """The ids of the texts `rows`, [B, T], padded with 0 to a multiple, but not beyond the longest of all texts.

        Of a `part` of the rows alone, T is that of all of them.
        """
        sizes = self.offsets[rows + 1] - self.offsets[rows]
        width = min(-(-max(1, int(sizes.max(initial=0))) // multiple) * multiple, max(1, self.longest))
        starts, sizes = self.offsets[rows[part]], sizes[part]
        position = np.arange(width)[None, :]
        inside = position < sizes[:, None]
        if not len(self.ids):
            return np.zeros(inside.shape, dtype="int32")
        return np.where(inside, self.ids[np.where(inside, starts[:, None] + position, 0)], 0).astype("int32")


class TextPlan:
    """The rows of each batch of a text data set, epoch by epoch; they follow from the seed and the epoch alone.

    Args:
        rows: the data set.
        batching: chooses the rows of each batch.
        batch_size: rows per batch.
        shuffle: a new order in every epoch.
        seed: random seed of the order.
        min_rows: batches of fewer rows are left out.
    """

    def __init__(
        self,
        rows: TextRows,
        batching: Batching,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        min_rows: int = 1,
    ) -> None:
        self.rows, self.batching, self.batch_size, self.seed, self.min_rows = rows, batching, batch_size, seed, min_rows
        self.shuffle = shuffle
        batching.check(rows)
        self.steps = -(-batching.count(len(rows)) // batch_size)

    def batches(self, epoch: int) -> Iterator[Array | Pairs]:
        """The rows of each batch of an epoch."""
        rng = np.random.default_rng([self.seed, epoch]) if self.shuffle else None
        source = self.batching.batches(self.rows, self.batch_size, rng)
        return (batch for batch in source if len(batch[0] if isinstance(batch, tuple) else batch) >= self.min_rows)
