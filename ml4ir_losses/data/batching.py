"""Queries to padded batches: truncation, length bucketing, few shapes for compilers, shuffling, `tf.data`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.names import CONFIDENCE, MASK, PADDING_LABEL, POSITIONS
from ml4ir_losses.data.queries import Queries
from ml4ir_losses.ops.backend import is_backend

_POOL = 64  # batches that are sorted by length together
_COMPILATION = 2**18  # documents on which a small model trains in the time that XLA takes to compile its training step

Arrays = dict[str, Array]
ListBatch = tuple[Arrays, Arrays] | tuple[Arrays, Arrays, Array | Arrays]


@dataclass(frozen=True)
class Truncation:
    """How lists longer than `max_list_size` are cut."""

    max_list_size: int | None = None
    policy: Literal["first", "random", "keep_relevant"] = "first"

    def dropped(self, sizes: Array) -> tuple[int, int]:
        """Number of dropped documents, and of queries that lose documents."""
        if self.max_list_size is None:
            return 0, 0
        over = np.maximum(sizes - self.max_list_size, 0)
        return int(over.sum()), int((over > 0).sum())

    def report(self, sizes: Array) -> str:
        """One line on what is dropped; empty when nothing is."""
        documents, queries = self.dropped(sizes)
        if not documents:
            return ""
        return (
            f"{documents:,} of {int(sizes.sum()):,} documents dropped from {queries:,} queries longer than "
            f"data.max_list_size: {self.max_list_size} (data.truncation: {self.policy})"
        )


class HasSizes(Protocol):
    """Queries, in memory or not, whose numbers of documents are known."""

    sizes: Array

    def __len__(self) -> int: ...


class EpochPlan(ABC):
    """How the queries of a split are dealt out to batches, epoch by epoch.

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
    ) -> None:
        self.data = data
        self.compiled_epochs = compiled_epochs
        # Elsewhere the mean loss that Keras reports would count the lists without documents: see `Trainer`.
        self.fills_batches = compiled_epochs is not None and is_backend("jax") and len(data) % batch_size > 0
        self.batch_size = batch_size
        self.truncation = truncation or Truncation()
        self.shuffle = shuffle
        self.bucketing = bucketing
        self.seed = seed
        self.epoch = 0
        self.rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        return -(-len(self.data) // self.batch_size)

    @abstractmethod
    def windows(self, with_ids: bool = True) -> Iterator[BatchPlan]:
        """Plans of queries in memory whose batches, one after another, are those of the next epoch.

        `with_ids`: with the ids of queries and documents, which training does not read.
        """

    @abstractmethod
    def example(self) -> BatchPlan:
        """A plan of queries in memory that shows the shapes of batches."""

    def next_rng(self) -> np.random.Generator:
        """The random numbers of the next epoch."""
        self.epoch += 1
        return np.random.default_rng([self.seed, self.epoch - 1])

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
        longest = np.array([self.cut_sizes[batch].max() for batch in self.first_epoch()])
        return few_widths(longest, _COMPILATION / (self.compiled_epochs * self.batch_size))

    def first_epoch(self) -> Iterator[Array]:
        """Query indices of each batch of the first epoch."""
        yield from self.groups(np.random.default_rng([self.seed, 0]), self.data.sizes)


class BatchPlan(EpochPlan):
    """The queries of each batch and their rows, for queries in memory."""

    data: Queries

    def windows(self, with_ids: bool = True) -> Iterator[BatchPlan]:
        """Itself."""
        yield self

    def example(self) -> BatchPlan:
        """Itself."""
        return self

    def batches(self) -> Iterator[Array]:
        """Query indices of each batch of the next epoch."""
        self.rng = self.next_rng()
        yield from self.groups(self.rng, self.data.sizes)

    def rows(self, batch: Array) -> tuple[Array, Array]:
        """Row numbers [B, N] and mask [B, N] of the queries of a batch; lists that fill it up come last."""
        limit = self.truncation.max_list_size
        sizes, start = self.cut_sizes[batch], self.data.offsets[batch]
        if self.fills_batches:
            sizes, start = (np.pad(x, (0, self.batch_size - len(batch))) for x in (sizes, start))
        longest = int(sizes.max())
        width = longest if self.widths is None else int(self.widths[np.searchsorted(self.widths, longest)])
        mask = np.arange(width)[None, :] < sizes[:, None]
        rows = np.where(mask, start[:, None] + np.arange(width)[None, :], 0)
        if limit is not None and self.truncation.policy != "first":
            for i, query in enumerate(batch):
                if self.data.sizes[query] > limit:
                    rows[i, :limit] = self.data.offsets[query] + self._kept(int(query), limit)
        return rows, mask

    def _kept(self, query: int, limit: int) -> Array:
        """Positions of the documents that are kept, in list order."""
        size = int(self.data.sizes[query])
        key = self.rng.random(size)
        if self.truncation.policy == "keep_relevant":
            start = self.data.offsets[query]
            labels = next(iter(self.data.labels.values()))[start : start + size]
            key = np.where(labels > 0, 1.0 + labels, key)
        kept: Array = np.sort(np.argsort(-key, kind="stable")[:limit])
        return kept


def import_tensorflow() -> Any:
    """TensorFlow, whose `tf.data` feeds every Keras backend; `DataError` where it is missing."""
    try:
        import tensorflow
    except ImportError:
        raise DataError("Data pipelines need TensorFlow on every Keras backend: pip install tensorflow.") from None
    return tensorflow


def prefetched(dataset: Any) -> Any:
    """The `tf.data.Dataset` with two batches prefetched, without autotuning.

    The autotuning thread sometimes misses that the iterator of a finished epoch is destroyed. The epoch then ends only
    when that thread wakes up: after as long as the epoch took, at most a minute.
    """
    options = import_tensorflow().data.Options()
    options.autotune.enabled = False
    return dataset.prefetch(2).with_options(options)


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


def make_batch(plan: BatchPlan, batch: Array) -> ListBatch:
    """(inputs, labels, weights) of one batch; labels are -1 in padding, and the mask is one of the inputs."""
    data = plan.data
    rows, mask = plan.rows(batch)
    x = make_inputs(data, batch, rows, mask)
    y = {name: pad(values, rows, mask, PADDING_LABEL) for name, values in data.labels.items()}
    if data.positions is not None:
        y[POSITIONS] = pad(data.positions, rows, mask)
    if data.confidence is not None:
        y[CONFIDENCE] = pad(data.confidence, rows, mask)
    item = None if data.weight is None else pad(data.weight, rows, mask)
    query = None if data.query_weight is None else data.query_weight[batch]
    if plan.fills_batches:
        # The loss is a mean over lists: larger weights make up for those that fill the batch.
        query = np.ones(len(batch), "float32") if query is None else query
        query = np.pad(query * np.float32(len(mask) / len(batch)), (0, len(mask) - len(batch)))
    if item is not None and query is not None:
        return x, y, {"item": item, "query": query}
    weight = query if item is None else item
    return (x, y) if weight is None else (x, y, weight)


def list_dataset(plan: EpochPlan) -> Any:
    """The plan as a `tf.data.Dataset` of (inputs, labels[, weights]), a fresh epoch at every iteration."""
    tf = import_tensorflow()

    def generate() -> Iterator[ListBatch]:
        for window in plan.windows(with_ids=False):
            for batch in window.batches():
                yield make_batch(window, batch)
            del window  # before the next one is there

    first = plan.example()
    example = make_batch(first, np.arange(min(1, len(first.data))))
    signature = tf.nest.map_structure(
        lambda a: tf.TensorSpec([None, *[None] * (a.ndim > 1), *a.shape[2:]], a.dtype), example
    )
    for name in first.data.query_scope:
        values = first.data.features[name]
        signature[0][name] = tf.TensorSpec([None, *values.shape[1:]], values.dtype)
    dataset = tf.data.Dataset.from_generator(generate, output_signature=signature)
    return prefetched(dataset.apply(tf.data.experimental.assert_cardinality(len(plan))))
