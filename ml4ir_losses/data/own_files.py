"""Batches of processes that each read their own files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.names import CONFIDENCE, MASK, PADDING_LABEL, POSITIONS
from ml4ir_losses.data.feeding import ListBatch
from ml4ir_losses.data.sharding import Shard


@dataclass(frozen=True)
class OwnFiles:
    """What a process knows of the queries that the processes have in their own files.

    A batch of an epoch is made of the batches of all processes, whose incomplete ones come last. So each process knows
    how many queries the others have in a batch, and its weights make the mean over the lists of all processes a mean
    over their queries. A process that has no more queries gives lists without documents.

    Attributes:
        index: the number of this process.
        queries: the number of queries of each process.
        batch_size: queries in a batch of all processes.
    """

    index: int
    queries: tuple[int, ...]
    batch_size: int

    def size(self, index: int) -> int:
        """Queries of a process in a complete batch."""
        return len(range(self.batch_size)[Shard(index, len(self.queries)).part(self.batch_size)])

    @property
    def own_size(self) -> int:
        """Queries of this process in a complete batch."""
        return self.size(self.index)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return max(-(-queries // self.size(index)) for index, queries in enumerate(self.queries))

    def counts(self, number: int) -> Array:
        """The number of queries of each process in a batch, [processes]."""
        sizes = np.array([self.size(index) for index in range(len(self.queries))])
        counts: Array = np.clip(np.array(self.queries) - number * sizes, 0, sizes)
        return counts

    def batches(
        self, own: Iterator[ListBatch], empty: ListBatch, start: int = 0, filled: bool = False
    ) -> Iterator[ListBatch]:
        """The batches of this process in an epoch, from number `start` on.

        Args:
            own: its batches with queries, from that number on.
            empty: a batch of lists without documents, one for each of its devices.
            start: the number of the first batch.
            filled: its batches have weights that make the mean over their lists a mean over their queries.
        """
        devices = len(empty[0][MASK])
        for number in range(start, len(self)):
            counts = self.counts(number)
            lists = -(-np.maximum(counts, 1) // devices) * devices
            batch = next(own, None)
            if batch is None:
                yield empty
                continue
            before = lists[self.index] / counts[self.index] if filled else 1.0
            yield weighted(batch, float(lists.sum() / counts.sum() / before))


def weighted(batch: ListBatch, factor: float) -> ListBatch:
    """The batch with its query weights, which are 1 if there are none, times a factor."""
    x, y, *given = batch
    weight = given[0] if given else None
    if isinstance(weight, dict):
        return x, y, {**weight, "query": weight["query"] * np.float32(factor)}
    if weight is not None and weight.ndim == 1:
        return x, y, weight * np.float32(factor)
    query = np.full(len(x[MASK]), factor, "float32")
    return x, y, query if weight is None else {"item": weight, "query": query}


def without_documents(batch: ListBatch, lists: int) -> ListBatch:
    """So many lists without documents, of the arrays of a batch."""
    x, y, *given = batch

    def empty(a: Array, padding: float = 0.0) -> Array:
        return np.full((lists, *a.shape[1:]), padding, a.dtype)

    inputs = {name: empty(values) for name, values in x.items()}
    targets = {name: empty(a, 0.0 if name in (POSITIONS, CONFIDENCE) else PADDING_LABEL) for name, a in y.items()}
    weight = given[0] if given else np.zeros(0, "float32")
    if isinstance(weight, dict):
        return inputs, targets, {name: empty(values) for name, values in weight.items()}
    return weighted((inputs, targets, empty(weight)), 0.0)
