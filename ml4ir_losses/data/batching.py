"""Queries to padded batches: truncation, length bucketing, few shapes for compilers, shuffling, `tf.data`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from typing import Any, Protocol

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.names import CONFIDENCE, MASK, PADDING_LABEL, POSITIONS
from ml4ir_losses.data.feeding import Feeding, ListBatch, import_tensorflow, make_dataset
from ml4ir_losses.data.own_files import OwnFiles, without_documents
from ml4ir_losses.data.queries import Queries
from ml4ir_losses.data.sharding import START, WHOLE, Position, Shard
from ml4ir_losses.data.truncation import Truncation
from ml4ir_losses.ops.backend import is_backend

_POOL = 64  # batches that are sorted by length together
_COMPILATION = 2**18  # documents on which a small model trains in the time that XLA takes to compile its training step

Draw = tuple[Array, Array | None]
"""The indices of the queries of a batch, and the random numbers of the documents of those that truncation cuts."""


class HasSizes(Protocol):
    """Queries, in memory or not, whose numbers of documents are known."""

    sizes: Array

    def __len__(self) -> int: ...


class EpochPlan(ABC):
    """How the queries of a split are dealt out to batches, epoch by epoch.

    The batches of an epoch follow from the seed and its number alone.

    Args:
        data: the queries.
        batch_size: queries per batch.
        truncation: how long lists are cut; None: lists are not cut.
        shuffle: a new order of the queries in every epoch.
        bucketing: queries of similar length share a batch.
        seed: the seed of shuffling and truncation.
        compiled_epochs: the number of epochs for which every shape of a batch is compiled (XLA), so that batches have
            few shapes: lists are padded to one of `few_widths`, and on JAX an incomplete batch is filled up with lists
            without documents. None: lists are padded to the longest of the batch.
        shard: the part of each batch that is made. A batch that its devices cannot share evenly is filled up with lists
            without documents, which come last.
        incomplete_last: the incomplete batch is the last one of every epoch.

    Attributes:
        fills_batches: True if some batches are filled up.
    """

    data: HasSizes

    def __init__(
        self,
        data: HasSizes,
        batch_size: int,
        *,
        truncation: Truncation | None = None,
        shuffle: bool = False,
        bucketing: bool = False,
        seed: int = 0,
        compiled_epochs: int | None = None,
        shard: Shard = WHOLE,
        incomplete_last: bool = False,
    ) -> None:
        self.data = data
        self.incomplete_last = incomplete_last
        self.compiled_epochs = compiled_epochs
        self.shard = shard
        incomplete = len(data) % batch_size
        sizes = {batch_size if len(data) >= batch_size else incomplete, incomplete or batch_size}
        # On one device of the other backends the mean loss of Keras would count the lists without documents.
        compiled = compiled_epochs is not None and is_backend("jax")
        self.fills_batches = (compiled and incomplete > 0) or any(shard.filled(size) > size for size in sizes)
        self.batch_size = batch_size
        self.truncation = truncation or Truncation()
        self.shuffle = shuffle
        self.bucketing = bucketing
        self.seed = seed

    def __len__(self) -> int:
        return -(-len(self.data) // self.batch_size)

    @abstractmethod
    def windows(self, with_ids: bool = True) -> Iterator[BatchPlan]:
        """Plans of queries in memory whose batches, one after another, are those of a plan that is not shuffled.

        `with_ids`: with the ids of queries and documents, which training does not read.
        """

    @abstractmethod
    def draws(self, epoch: int, start: int = 0) -> Iterator[tuple[BatchPlan, Draw]]:
        """The batches of an epoch, from number `start` on: a plan of queries in memory, and what was drawn of it."""

    @abstractmethod
    def example(self) -> BatchPlan:
        """A plan of queries in memory that shows the shapes of batches."""

    def rng_of(self, epoch: int) -> np.random.Generator:
        """The random numbers of an epoch."""
        return np.random.default_rng([self.seed, epoch])

    def draw(self, rng: np.random.Generator, sizes: Array) -> Iterator[Draw]:
        """What is drawn for each batch, given the number of documents of each query."""
        for queries in self.groups(rng, sizes):
            yield queries, self.truncation.keys(sizes[queries], rng)

    def rows_of(self, queries: int) -> int:
        """The number of lists of a batch of so many queries, with those that fill it up."""
        if not self.fills_batches:
            return queries
        return self.shard.filled(queries if self.compiled_epochs is None else self.batch_size)

    def groups(self, rng: np.random.Generator, sizes: Array) -> list[Array]:
        """The indices of the queries in each batch, given the number of documents of each query."""
        order = rng.permutation(len(sizes)) if self.shuffle else np.arange(len(sizes))
        if self.bucketing:
            pool = _POOL * self.batch_size
            chunks = [
                chunk[np.argsort(sizes[chunk], kind="stable")]
                for chunk in np.split(order, range(pool, len(order), pool))
            ]
            # The incomplete batch, one more shape, takes the shortest queries: small batches are not compiled.
            chunks[-1] = np.roll(chunks[-1], -(len(chunks[-1]) % self.batch_size))
            order = np.concatenate(chunks)
        groups = np.split(order, range(self.batch_size, len(order), self.batch_size))
        if self.bucketing and self.shuffle:
            groups = [groups[i] for i in rng.permutation(len(groups))]
        if self.incomplete_last:
            groups.sort(key=len, reverse=True)
        return groups

    @cached_property
    def cut_sizes(self) -> Array:
        """The number of documents that are kept of each query, [Q]."""
        limit = self.truncation.max_list_size
        return self.data.sizes if limit is None else np.minimum(self.data.sizes, limit)

    @cached_property
    def widths(self) -> Array | None:
        """The sizes to which lists are padded, ascending; None: to the longest of the batch."""
        if self.compiled_epochs is None:
            return None
        longest = np.array([self.cut_sizes[batch].max() for batch in self.order(0)])
        return few_widths(longest, _COMPILATION / (self.compiled_epochs * self.batch_size))

    def order(self, epoch: int) -> Iterator[Array]:
        """Indices among all queries of each batch of an epoch."""
        return (queries for queries, _ in self.draw(self.rng_of(epoch), self.data.sizes))


class BatchPlan(EpochPlan):
    """The queries of each batch and their rows, for queries in memory."""

    data: Queries

    def windows(self, with_ids: bool = True) -> Iterator[BatchPlan]:
        """Itself."""
        yield self

    def example(self) -> BatchPlan:
        """Itself."""
        return self

    def draws(self, epoch: int, start: int = 0) -> Iterator[tuple[BatchPlan, Draw]]:
        """The batches of an epoch, from number `start` on."""
        drawn = self.draw(self.rng_of(epoch), self.data.sizes)
        return ((self, draw) for draw in islice(drawn, start, None))

    def batches(self, epoch: int = 0) -> Iterator[Array]:
        """Query indices of each batch of an epoch."""
        return self.order(epoch)

    def rows(self, batch: Array, keys: Array | None = None) -> tuple[Array, Array]:
        """Row numbers [B, N] and mask [B, N] of the part of a batch that is made; N is that of the whole batch.

        Args:
            batch: the indices of the queries of the whole batch.
            keys: see `Draw`; None: the first documents of long lists are kept.
        """
        total = self.rows_of(len(batch))
        part = self.shard.part(total)
        longest = int(self.cut_sizes[batch].max())
        width = longest if self.widths is None else int(self.widths[np.searchsorted(self.widths, longest)])
        own = batch[part]
        sizes, start = self.cut_sizes[own], self.data.offsets[own]
        if self.fills_batches:
            missing = part.stop - part.start - len(own)
            sizes, start = (np.pad(x, (0, missing)) for x in (sizes, start))
        mask = np.arange(width)[None, :] < sizes[:, None]
        rows = np.where(mask, start[:, None] + np.arange(width)[None, :], 0)
        if keys is not None and self.truncation.max_list_size is not None:
            limit, ends = self.truncation.max_list_size, self._ends_of_keys(batch)
            for i, query in enumerate(own, start=part.start):
                if (size := int(self.data.sizes[query])) > limit:
                    first, labels = self.data.offsets[query], next(iter(self.data.labels.values()), None)
                    key = keys[ends[i] - size : ends[i]]
                    kept = self.truncation.kept(key, None if labels is None else labels[first : first + size])
                    rows[i - part.start, :limit] = first + kept
        return rows, mask

    def _ends_of_keys(self, batch: Array) -> Array:
        """Where the random numbers of each query end, [B]."""
        sizes = self.data.sizes[batch]
        return np.cumsum(np.where(sizes > self.cut_sizes[batch], sizes, 0))


def few_widths(longest: Array, price: float) -> Array:
    """The widths, ascending, that cost least: the padded documents of all lists, and `price` documents for each width.

    Args:
        longest: the size of the longest list of each batch; lists are padded to the next width from there.
        price: in documents per list of a batch.
    """
    sizes, counts = np.unique(longest, return_counts=True)
    below = np.concatenate([[0], np.cumsum(counts)])
    cost, first = np.zeros(len(sizes) + 1), np.zeros(len(sizes), int)
    for last, size in enumerate(sizes):  # the batches first[last], ..., last share the width `size`
        costs = cost[: last + 1] + (below[last + 1] - below[: last + 1]) * size
        first[last] = np.argmin(costs)
        cost[last + 1] = costs[first[last]] + price
    chosen, end = [], len(sizes)
    while end:
        chosen.append(sizes[end - 1])
        end = first[end - 1]
    return np.array(chosen[::-1])


def pad(values: Array, rows: Array, mask: Array, padding: float = 0.0) -> Array:
    """values[rows] with `padding` where the mask is false."""
    padded: Array = np.take(values, rows, axis=0)
    padded[~mask] = padding
    return padded


def make_inputs(data: Queries, batch: Array, rows: Array, mask: Array) -> dict[str, Array]:
    """The model's inputs for the queries of a batch, with the padding mask."""
    first = np.pad(data.offsets[batch], (0, len(mask) - len(batch)))
    x = {
        name: values[first] if name in data.query_scope else pad(values, rows, mask)
        for name, values in data.features.items()
    }
    x[MASK] = mask.astype("float32")
    return x


def make_batch(plan: BatchPlan, batch: Array, keys: Array | None = None) -> ListBatch:
    """(inputs, labels, weights) of the plan's part of a batch; labels are -1 in padding, the mask is an input."""
    data = plan.data
    rows, mask = plan.rows(batch, keys)
    own = batch[plan.shard.part(plan.rows_of(len(batch)))]
    x = make_inputs(data, own, rows, mask)
    y = {name: pad(values, rows, mask, PADDING_LABEL) for name, values in data.labels.items()}
    if data.positions is not None:
        y[POSITIONS] = pad(data.positions, rows, mask)
    if data.confidence is not None:
        y[CONFIDENCE] = pad(data.confidence, rows, mask)
    item = None if data.weight is None else pad(data.weight, rows, mask)
    query = None if data.query_weight is None else data.query_weight[own]
    if plan.fills_batches:
        # The loss is a mean over lists: larger weights make up for those that fill the batch.
        query = np.ones(len(own), "float32") if query is None else query
        query = np.pad(query * np.float32(plan.rows_of(len(batch)) / len(batch)), (0, len(mask) - len(own)))
    if item is not None and query is not None:
        return x, y, {"item": item, "query": query}
    weight = query if item is None else item
    return (x, y) if weight is None else (x, y, weight)


def list_dataset(
    plan: EpochPlan, feeding: Feeding | None = None, start: Position = START, own_files: OwnFiles | None = None
) -> Any:
    """The plan as a `tf.data.Dataset` of (inputs, labels[, weights]).

    Args:
        plan: the plan.
        feeding: knows the epoch; None: every iteration is a new epoch.
        start: the first batch of the first epoch.
        own_files: given where the plan is that of the files of one of several processes.
    """
    tf = import_tensorflow()
    shown = plan.example()
    example = make_batch(shown, np.arange(min(1, len(shown.data))))
    if own_files is not None:
        example = without_documents(example, plan.shard.devices)

    def made(epoch: int, first: int) -> Iterator[ListBatch]:
        for window, (queries, keys) in plan.draws(epoch, first):
            yield make_batch(window, queries, keys)
            del window  # before the next one is there

    def batches(epoch: int, first: int) -> Iterator[ListBatch]:
        own = made(epoch, first)
        return own if own_files is None else own_files.batches(own, example, first, plan.fills_batches)

    signature = tf.nest.map_structure(
        lambda a: tf.TensorSpec([None, *[None] * (a.ndim > 1), *a.shape[2:]], a.dtype), example
    )
    for name in shown.data.query_scope:
        values = shown.data.features[name]
        signature[0][name] = tf.TensorSpec([None, *values.shape[1:]], values.dtype)
    generate = (feeding or Feeding()).generator(batches, start)
    return make_dataset(generate, signature, None if start.batch else len(plan if own_files is None else own_files))
