"""The base class of what gives the batches of text data sets, and their `tf.data.Dataset`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import ConfigError
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.data.feeding import Feeding, import_tensorflow, make_dataset
from ml4ir_losses.data.sharding import EVERY, START, WHOLE, Position, Shard
from ml4ir_losses.ops.backend import is_backend

TextBatch = tuple[Any, ...]


class Feed(ABC):
    """Draws what the batches of an epoch are made of, and makes them.

    Attributes:
        makes_lists: True for batches [B, N, ...] with any number N of documents.
    """

    makes_lists = False
    _told = False

    @property
    @abstractmethod
    def batch_size(self) -> int:
        """Rows of a complete batch, of the smallest ones where they differ."""

    @abstractmethod
    def draws(self, epoch: int) -> Iterator[Any]:
        """What is drawn for each batch of an epoch."""

    @abstractmethod
    def size(self, draw: Any) -> int:
        """The number of rows of the batch."""

    @abstractmethod
    def make(self, draw: Any, part: slice = EVERY) -> TextBatch:
        """The batch, or a part of its rows, padded as the whole batch is."""

    def batches(self, epoch: int = 0, start: int = 0, shard: Shard = WHOLE) -> Iterator[TextBatch]:
        """The batches of an epoch, from number `start` on, or a part of each.

        Batches with fewer rows than devices are left out, on all processes, with a warning.
        """
        for draw in islice(self._shared(epoch, least_rows(shard)), start, None):
            yield self.make(draw, shard.part(self.size(draw)))

    def _shared(self, epoch: int, least: int) -> Iterator[Any]:
        """The draws of at least so many rows."""
        for draw in self.draws(epoch):
            if self.size(draw) >= least:
                yield draw
            elif not self._told:
                self._told = True
                LOGGER.warning(
                    "batches of fewer rows than devices are left out, such as one of %d for %d", self.size(draw), least
                )


def least_rows(shard: Shard) -> int:
    """The smallest batch that all devices have a part of; on JAX they all get the whole of one that does not divide."""
    return shard.count if is_backend("jax") else shard.replicas


def text_dataset(feed: Feed, feeding: Feeding | None = None, start: Position = START, shard: Shard = WHOLE) -> Any:
    """A `tf.data.Dataset` of the batches of a feed.

    Args:
        feed: makes the batches.
        feeding: knows the epoch; None: every iteration is a new epoch.
        start: the first batch of the first epoch.
        shard: the part of each batch that is given.

    Raises:
        ConfigError: for batches of fewer rows than devices.
    """
    if feed.batch_size < (least := least_rows(shard)):
        raise ConfigError(f"data.batch_size: {least} devices cannot share a batch of {feed.batch_size} rows.")
    tf = import_tensorflow()

    def batches(epoch: int, first: int) -> Iterator[TextBatch]:
        # The random numbers of epoch 0 are those of the batches that show the shapes.
        return feed.batches(epoch + 1, first, shard)

    example = next(feed.batches())
    signature = tf.nest.map_structure(
        lambda a: tf.TensorSpec([None, *_inner_shape(a, feed.makes_lists)], a.dtype), example
    )
    return make_dataset((feeding or Feeding()).generator(batches, start), signature, None)


def _inner_shape(a: Array, lists: bool) -> list[int | None]:
    """The dimensions after the first; widths of token ids and numbers of documents differ between batches."""
    return [None if a.dtype == np.int32 or (lists and axis == 1) else n for axis, n in enumerate(a.shape[1:], start=1)]
