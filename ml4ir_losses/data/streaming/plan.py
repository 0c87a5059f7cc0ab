"""Batches of queries that are on disk: a window of queries at a time is in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.data.batching import BatchPlan, Draw, EpochPlan
from ml4ir_losses.data.queries import Queries
from ml4ir_losses.data.streaming.store import QueryStore, Range

_BLOCKS = 32  # blocks of queries in a window: each epoch puts other blocks together
_SHUFFLED_BLOCKS = 1  # tells the random numbers of blocks from those of batches

Item = TypeVar("Item")


def make_plan(data: Queries | QueryStore, batch_size: int, **options: Any) -> EpochPlan:
    """The batches of queries, in memory or on disk; options are those of `EpochPlan`."""
    kind: type[EpochPlan] = StreamedPlan if isinstance(data, QueryStore) else BatchPlan
    return kind(data, batch_size, **options)


class StreamedPlan(EpochPlan):
    """The batches of queries on disk.

    An epoch is a sequence of windows, each of several blocks of adjacent queries. Shuffling puts the blocks into a new
    order in every epoch, and then the queries within each window, as `BatchPlan` does. Windows depend on the size of
    the data alone, and the batches on the seed. Where all queries fit into one window, the batches are those of a
    `BatchPlan`. While a window is used, the next one is read.
    """

    data: QueryStore

    def windows(self, with_ids: bool = True) -> Iterator[BatchPlan]:
        """The windows of the first epoch."""
        return self._windows(self._ranges(0, with_ids), with_ids)

    def draws(self, epoch: int, start: int = 0) -> Iterator[tuple[BatchPlan, Draw]]:
        """The batches of an epoch, from number `start` on; windows that end before it are not read."""
        rng, ranges, left = self.rng_of(epoch), list(self._ranges(epoch, with_ids=False)), start
        while ranges and left >= (batches := -(-sum(last - first for first, last in ranges[0]) // self.batch_size)):
            deque(self.draw(rng, self._sizes(ranges.pop(0))), maxlen=0)
            left -= batches
        for window in self._windows(ranges, with_ids=False):
            yield from ((window, draw) for draw in islice(self.draw(rng, window.data.sizes), left, None))
            del window  # before the next one is there
            left = 0

    def _windows(self, ranges: Iterable[Sequence[Range]], with_ids: bool) -> Iterator[BatchPlan]:
        # `map` keeps no window that was used.
        return map(self._window, read_ahead(self.data.read(part, with_ids) for part in ranges))

    def _window(self, queries: Queries) -> BatchPlan:
        """The plan of a window, with what its batches take from the whole epoch."""
        window = BatchPlan(
            queries,
            self.batch_size,
            truncation=self.truncation,
            shuffle=self.shuffle,
            bucketing=self.bucketing,
            seed=self.seed,
            compiled_epochs=self.compiled_epochs,
            shard=self.shard,
            incomplete_last=self.incomplete_last,
        )
        window.fills_batches, window.widths = self.fills_batches, self.widths
        return window

    def example(self) -> BatchPlan:
        """A window of one query."""
        return self._window(self.data.read([(0, min(1, len(self.data)))]))

    def order(self, epoch: int) -> Iterator[Array]:
        """Indices among all queries of each batch of an epoch; nothing is read."""
        rng = self.rng_of(epoch)
        for ranges in self._ranges(epoch, with_ids=False):
            index = np.concatenate([np.arange(first, last) for first, last in ranges])
            yield from (index[queries] for queries, _ in self.draw(rng, self.data.sizes[index]))

    def _sizes(self, ranges: Sequence[Range]) -> Array:
        """The numbers of documents of the queries in ranges."""
        return np.concatenate([self.data.sizes[first:last] for first, last in ranges])

    def _ranges(self, epoch: int, with_ids: bool) -> Iterator[Sequence[Range]]:
        """The ranges of queries in each window of an epoch."""
        starts = np.arange(0, len(self.data), self.batch_size)
        nbytes = np.add.reduceat(self.data.nbytes(with_ids), starts)  # of each batch
        limit = self.data.window_bytes
        before = np.concatenate([[0], np.cumsum(nbytes)])
        if before[-1] <= limit:
            yield [(0, len(self.data))]
            return
        number = before[:-1] // max(1, limit // _BLOCKS)
        firsts = np.flatnonzero(np.diff(number, prepend=-1))  # the first batch of each block
        ends = np.append(firsts[1:], len(starts))
        order = np.arange(len(firsts))
        if self.shuffle:
            order = np.random.default_rng([self.seed, epoch, _SHUFFLED_BLOCKS]).permutation(len(firsts))
        if self.incomplete_last:
            order = np.append(order[order < len(order) - 1], len(order) - 1)
        window: list[Range] = []
        used = 0
        for block in order:
            size = int(before[ends[block]] - before[firsts[block]])
            if window and used + size > limit:
                yield window
                window, used = [], 0
            window.append((int(starts[firsts[block]]), min(int(ends[block]) * self.batch_size, len(self.data))))
            used += size
        yield window


def read_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The items, each made by a thread while the one before it is used; two at a time if the reader keeps none."""
    end: Any = object()
    with ThreadPoolExecutor(1) as thread:
        following = thread.submit(next, items, end)
        while (item := following.result()) is not end:
            following = thread.submit(next, items, end)
            yield item
            del item  # before the next but one is made
