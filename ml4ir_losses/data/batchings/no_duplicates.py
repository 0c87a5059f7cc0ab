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
    """Every row once, and no text twice in a batch: a copy of a positive would be taken for a negative.

    A row that does not fit waits for the next batch. When nothing that waits fits any more, a batch has fewer rows.

    Args:
        texts: the texts of every row; one row may contain the same text twice.
        batch_size: rows of a batch.
        rng: draws the order of the rows; None: theirs.
    """
    check_count(batch_size=batch_size)
    order = iter(range(len(texts)) if rng is None else rng.permutation(len(texts)).tolist())
    waiting: list[int] = []
    while True:
        batch: list[int] = []
        seen: set[str] = set()
        still: list[int] = []
        first = iter(waiting)
        for row in chain(first, order):
            if seen.isdisjoint(texts[row]):
                batch.append(row)
                seen.update(texts[row])
                if len(batch) == batch_size:
                    break
            else:
                still.append(row)
        if not batch:
            return
        waiting = [*still, *first]  # what does not fit, and what was not looked at
        yield np.array(batch)


@register_batching("no_duplicates")
class NoDuplicates(Batching):
    """Every row once, and no text twice in a batch: a copy of a positive would be taken for a negative."""

    def batches(self, rows: Rows, batch_size: int, rng: Rng) -> Iterator[Array]:
        return no_duplicates(list(zip(*rows.texts, strict=True)), batch_size, rng)
