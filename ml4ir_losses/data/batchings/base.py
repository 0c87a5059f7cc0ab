"""The base class of batchings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from ml4ir_losses.core.arrays import Array

Rng = np.random.Generator | None
Pairs = tuple[Array, Array, Array]
"""Rows of the anchors, rows of the positives, and the label of each pair."""


class Rows(Protocol):
    """The rows of a data set: the texts of every column, the labels (None: there are none), the file for messages."""

    texts: list[list[str]]
    labels: list[str] | None
    source: str

    def __len__(self) -> int: ...


class Batching(ABC):
    """Chooses the rows of each batch of a data set; the parameters of `__init__` are those of the config.

    Attributes:
        needs_label: the rows must have labels.
        makes_pairs: batches are `Pairs` of a single text column, with generated labels.
    """

    key: str
    needs_label = False
    makes_pairs = False

    @abstractmethod
    def batches(self, rows: Rows, batch_size: int, rng: Rng) -> Iterator[Any]:
        """The row numbers of each batch of an epoch, or its `Pairs`; `rng` draws the order; None: row order."""

    def count(self, rows: int) -> int:
        """Number of rows or pairs in an epoch over `rows` rows of data."""
        return rows

    def check_batch_size(self, size: int) -> None:
        """Raises `UserError` for a batch size that is too small."""
        return

    def check(self, rows: Rows) -> None:
        """Raises `DataError` for rows that cannot be batched."""
        return
