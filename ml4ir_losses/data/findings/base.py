"""What the checks of data share: a finding, the names of columns, and when labels tell enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.data.queries import Queries

ENOUGH = 40.0
"""The negative logarithm of how likely a pattern may be by chance before it counts: e^-40."""

_SHOWN = 5


class Finding(NamedTuple):
    """Something in the data that can ruin a result without an error.

    Attributes:
        key: the check.
        split: where it was found.
        text: what was found, and what can be done.
    """

    key: str
    split: str
    text: str

    def __str__(self) -> str:
        return f"{self.split}: {self.text} [{self.key}]"


def listed(names: Sequence[str], shown: int = _SHOWN) -> str:
    """The first names, quoted."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(map(repr, names[:shown])) + more


def query_of_rows(offsets: Array) -> Array:
    """The number of the query of each row, [rows]."""
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))


def mixed(labels: Array, offsets: Array) -> Array:
    """True for the queries with two different labels, [Q]."""
    found: Array = np.minimum.reduceat(labels, offsets[:-1]) < np.maximum.reduceat(labels, offsets[:-1])
    return found


def tells_enough(queries: Queries, with_labels: Array) -> bool:
    """False where an order of the documents of these queries could agree with their labels by chance.

    n documents with two different labels agree with a random order with a probability of at most 1/n.
    """
    return float(np.log(queries.sizes[with_labels]).sum()) >= ENOUGH
