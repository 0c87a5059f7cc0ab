"""`data_parallel` on JAX: the devices of this process compute every step together."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import keras

from ml4ir_losses.config.distribution import DataParallel
from ml4ir_losses.core.errors import ConfigError
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.data.sharding import Shard
from ml4ir_losses.experiments.distribution.single_model import copy_on_one_device


def workers(config: DataParallel) -> DeviceWorkers:
    """The devices of this process.

    Raises:
        ConfigError: for more devices than there are, or for settings of several processes.
    """
    import jax

    path = "training.distribution"
    if config.workers not in (None, 1):
        raise ConfigError(
            f"{path}.workers: {config.workers} processes are for torch; on JAX one process uses all devices: set devices."
        )
    if config.shard == "files":
        raise ConfigError(f"{path}.shard: files is for several processes; on JAX one process reads all files.")
    if jax.process_count() > 1:
        raise ConfigError(
            f"{path}: data_parallel on JAX trains on the devices of one process, and this is one of "
            f"{jax.process_count()}. For several machines use data_parallel on torch, or multi_worker on TensorFlow."
        )
    known = keras.distribution.list_devices()
    number = config.devices or len(known)
    if number > len(known):
        advice = "" if jax.default_backend() != "cpu" else (
            f" Parts of the CPU count as devices with XLA_FLAGS=--xla_force_host_platform_device_count={number} in the "
            "environment, set before Python starts."
        )
        raise ConfigError(f"{path}.devices: {number}, but JAX sees {len(known)}: {', '.join(known)}.{advice}")
    LOGGER.info("data_parallel: %d devices, %s", number, ", ".join(known[:number]))
    return DeviceWorkers(known[:number])


class DeviceWorkers:
    """One process with several devices, each of which trains on its part of every batch.

    Args:
        devices: their names.
    """

    rank, count, chief = 0, 1, True

    def __init__(self, devices: list[str]) -> None:
        self.distribution = _WholeBatches(devices=devices, auto_shard_dataset=False)
        self.replicas = len(devices)
        self.shard = Shard(devices=self.replicas)

    def scope(self) -> AbstractContextManager[Any]:
        """The distribution as that of Keras, which ends with the context."""
        scope: AbstractContextManager[Any] = self.distribution.scope()
        return scope

    def dataset(self, batches: Any) -> Any:
        """The batches as they are: the training step divides them."""
        return batches

    def maximum(self, value: int) -> int:
        """The value: there is one process."""
        return value

    def single(self, model: Any) -> Any:
        """A copy of the model on one device."""
        return copy_on_one_device(model)


class _WholeBatches(keras.distribution.DataParallel):  # type: ignore[misc]
    """Data parallelism that gives every device whole batches, which the training step divides.

    Keras decides at the first batch of an epoch how all of them are divided, and then fails at one that the devices do
    not divide.
    """

    def get_data_layout(self, data_shape: Any) -> Any:
        return keras.distribution.TensorLayout([None] * len(data_shape), self.device_mesh)
