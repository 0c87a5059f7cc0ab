"""The batching `no_duplicates`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import check_count
from ml4ir_losses.core.registry import register_batching
from ml4ir_losses.data.batchings.base import Batching, Rng, Rows


def no_duplicates(
    texts: Sequence[Sequence[str]], batch_size: int, rng: np.random.Generator | None = None
) -> Iterator[Array]:
    """Every row once, and no text twice in a batch: a copy of a positive would count as a negative.

    A row that repeats a text of its batch is deferred to the next batch. A batch has fewer rows if all remaining rows
    repeat one of its texts.

    Args:
        texts: the texts of every row; one row may contain the same text twice.
        batch_size: rows of a batch.
        rng: draws the order of the rows; None: data order.
    """
    check_count(batch_size=batch_size)
    order = iter(range(len(texts)) if rng is None else rng.permutation(len(texts)).tolist())
    waiting: list[int] = []
    while True:
        batch: list[int] = []
        seen: set[str] = set()
        repeated: list[int] = []
        deferred = iter(waiting)
        for row in chain(deferred, order):
            if seen.isdisjoint(texts[row]):
                batch.append(row)
                seen.update(texts[row])
                if len(batch) == batch_size:
                    break
            else:
                repeated.append(row)
        if not batch:
            return
        waiting = [*repeated, *deferred]  # rows that did not fit, then rows that were not tried
        yield np.array(batch)


@register_batching("no_duplicates")
class NoDuplicates(Batching):
    """Every row once, and no text twice in a batch: a copy of a positive would count as a negative."""

    def batches(self, rows: Rows, batch_size: int, rng: Rng) -> Iterator[Array]:
        return no_duplicates(list(zip(*rows.texts, strict=True)), batch_size, rng)
