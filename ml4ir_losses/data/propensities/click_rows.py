"""The rows of a click log, chunk by chunk: sessions, shown ranks and clicks, checked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.table import Table

_POISSON = np.cumsum([np.exp(-1.0) / np.prod(np.arange(1.0, k + 1)) for k in range(9)])  # P(X ≤ k) at mean 1


@dataclass(frozen=True)
class LogColumns:
    """The names of a log's columns."""

    session: str = "session_id"
    position: str = "position"
    click: str = "click"
    swap_rank: str = "swap_rank"
    swapped: str = "swapped"


@dataclass(frozen=True)
class ClickRows:
    """Rows of a log.

    Attributes:
        session: a hash of the session's id, [rows].
        rank: the shown rank, at least 1, [rows].
        click: true or false, [rows].
        table: the rows as they were read.
    """

    session: Array
    rank: Array
    click: Array
    table: Table


def click_rows(chunks: Iterable[Table], columns: LogColumns) -> Iterator[ClickRows]:
    """The rows of each chunk.

    Raises:
        DataError: for a missing column, an empty cell, a rank that is not a whole number of at least 1, and a click
            other than 0 and 1.
    """
    for table in chunks:
        for name in ("session", "position", "click"):
            table.require(getattr(columns, name), name)
        rank = whole(table, columns.position, 1, np.inf, "a shown rank is a whole number of at least 1")
        click = whole(table, columns.click, 0, 1, "a click is 0 or 1")
        yield ClickRows(hashes(table.strings(columns.session, missing=False)), rank, click > 0, table)


def whole(table: Table, column: str, low: float, high: float, rule: str) -> Array:
    """A column as whole numbers from `low` to `high`."""
    values = table.numeric(column, missing=False)
    wrong = (values % 1 != 0) | (values < low) | (values > high)
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(f"{table.locate(row)}, column {column!r}: {rule}. Received: {values[row]:g}.")
    return values.astype(int)


def hashes(texts: Array) -> Array:
    """A number of 64 bits for each text, the same in every run."""
    cells = pa.array(texts).dictionary_encode()
    digests = [hashlib.blake2b(text.encode(), digest_size=8).digest() for text in cells.dictionary.to_pylist()]
    return np.asarray(np.frombuffer(b"".join(digests), np.uint64)[cells.indices.to_numpy()])


def poisson_weights(session: Array, resample: int, seed: int) -> Array:
    """How often a bootstrap resample holds each session, Poisson with mean 1, [rows]; resample 0 holds all once.

    The number follows from the hash of the session, so that its rows need not be adjacent, nor in one chunk.

    Source: Chamandy et al., "Estimating uncertainty for massive data streams" (2012).
    """
    if not resample:
        return np.ones(len(session))
    with np.errstate(over="ignore"):  # SplitMix64
        mixed = session + np.uint64(0x9E3779B97F4A7C15) * np.uint64(1 + resample + 100_003 * seed)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
        mixed ^= mixed >> np.uint64(31)
    return np.searchsorted(_POISSON, mixed.astype(float) / 2.0**64).astype(float)
