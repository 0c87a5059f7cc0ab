"""The batching `in_order`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import check_count
from ml4ir_losses.core.registry import register_batching
from ml4ir_losses.data.batchings.base import Batching, Rng, Rows


def in_order(rows: int, batch_size: int, rng: np.random.Generator | None = None) -> Iterator[Array]:
    """Every row once, in random order, or in data order for `rng=None`; the last batch may have fewer rows."""
    check_count(batch_size=batch_size)
    order = np.arange(rows) if rng is None else rng.permutation(rows)
    for start in range(0, rows, batch_size):
        yield order[start : start + batch_size]


@register_batching("in_order")
class InOrder(Batching):
    """Every row once, in a new order in each epoch."""

    def batches(self, rows: Rows, batch_size: int, rng: Rng) -> Iterator[Array]:
        return in_order(len(rows), batch_size, rng)
