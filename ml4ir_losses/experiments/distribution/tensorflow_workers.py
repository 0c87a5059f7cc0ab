"""What the strategies of TensorFlow have in common."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from ml4ir_losses.data.feeding import read_to_end
from ml4ir_losses.data.sharding import Shard
from ml4ir_losses.experiments.distribution.single_model import copy_on_one_device
from ml4ir_losses.experiments.distribution.workers import Workers


class StrategyWorkers(Workers):
    """The processes of a `tf.distribute` strategy.

    Args:
        strategy: the strategy.
        rank: the number of this process.
        count: the number of processes.
    """

    def __init__(self, strategy: Any, rank: int = 0, count: int = 1) -> None:
        replicas = int(strategy.num_replicas_in_sync)
        super().__init__(rank, count, replicas, Shard(rank, count, replicas // count))
        self.strategy = strategy

    def scope(self) -> AbstractContextManager[Any]:
        """The scope of the strategy."""
        scope: AbstractContextManager[Any] = self.strategy.scope()
        return scope

    def dataset(self, batches: Any) -> Any:
        """The batches of this process, each divided among its devices."""
        if batches is None:
            return None
        devices = self.shard.devices
        return self.strategy.distribute_datasets_from_function(lambda _: divided(batches, devices))

    def single(self, model: Any) -> Any:
        """A copy of the model on one device."""
        return copy_on_one_device(model)


def divided(batches: Any, parts: int) -> Any:
    """A `tf.data.Dataset` of the batches, each as so many consecutive ones of about equal size."""
    import tensorflow as tf

    def part(index: Any, *batch: Any) -> Any:
        def rows(x: Any) -> Any:
            size = tf.shape(x, tf.int64)[0]
            return x[index * size // parts : (index + 1) * size // parts]

        return tf.nest.map_structure(rows, batch)

    return read_to_end(
        batches.flat_map(lambda *batch: tf.data.Dataset.range(parts).map(lambda index: part(index, *batch)))
    )
