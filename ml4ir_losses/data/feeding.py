"""Generated batches as `tf.data` datasets, which know the epoch of `fit` and keep their errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, TypeVar

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.sharding import START, Position

Batch = TypeVar("Batch")
Arrays = dict[str, Array]
ListBatch = tuple[Arrays, Arrays] | tuple[Arrays, Arrays, Array | Arrays]
"""Inputs, labels, weights."""

_MORE_THAN_THERE_ARE = 2**62


class Feeding:
    """What `fit` and the datasets that it reads tell each other.

    Attributes:
        epoch: the epoch, from 0, whose batches are read, whatever was read before; None: every iteration of a dataset
            is an epoch. (Keras begins some iterations only to see the shapes of a batch.)
    """

    def __init__(self) -> None:
        self.epoch: int | None = None
        self._error: Exception | None = None

    def generator(
        self, batches: Callable[[int, int], Iterator[Batch]], start: Position = START
    ) -> Callable[[], Iterator[Batch]]:
        """The function that gives the batches of an epoch, from `start` on in that epoch.

        Args:
            batches: gives the batches of an epoch, from a number on.
            start: the first batch of the first epoch.
        """
        counted = count(start.epoch)

        def generate() -> Iterator[Batch]:
            epoch = next(counted) if self.epoch is None else self.epoch
            try:
                yield from batches(epoch, start.of(epoch).batch)
            except Exception as error:
                self._error = error
                raise

        return generate

    @contextmanager
    def errors(self) -> Iterator[None]:
        """A block in which an error of a generator is raised as it is; a backend wraps it into one of its own."""
        self._error = None
        try:
            yield
        except Exception:
            if self._error is not None:
                raise self._error from None
            raise


def import_tensorflow() -> Any:
    """TensorFlow, whose `tf.data` feeds every Keras backend; `DataError` where it is missing."""
    try:
        import tensorflow
    except ImportError:
        raise DataError("Data pipelines need TensorFlow on every Keras backend: pip install tensorflow.") from None
    return tensorflow


def make_dataset(generate: Callable[[], Iterator[Any]], signature: Any, batches: int | None) -> Any:
    """A `tf.data.Dataset` of generated batches, two of them prefetched, without autotuning.

    The autotuning thread sometimes misses that the iterator of a finished epoch is destroyed. The epoch then ends only
    when that thread wakes up: after as long as the epoch took, at most a minute.

    Args:
        generate: gives the batches of an epoch.
        signature: their nest of `tf.TensorSpec`.
        batches: their number; None: it is unknown, or changes from epoch to epoch.
    """
    tf = import_tensorflow()
    options = tf.data.Options()
    options.autotune.enabled = False
    dataset = tf.data.Dataset.from_generator(generate, output_signature=signature)
    if batches is not None:
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(batches))
    dataset = dataset.prefetch(2).with_options(options)
    return dataset if batches is not None else read_to_end(dataset)


def read_to_end(dataset: Any) -> Any:
    """The dataset, of which Keras reads every epoch to its end.

    Of a dataset of unknown size Keras counts the batches of the first epoch, and later epochs get no more: too few
    where training started in the middle of an epoch. Of one that seems to be larger it reads what there is.
    """
    dataset.cardinality = lambda: import_tensorflow().constant(_MORE_THAN_THERE_ARE, "int64")
    return dataset
