"""`data_parallel` on JAX: the devices of one process or of several compute every step together."""

from __future__ import annotations

import math
import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
import numpy as np

from ml4ir_losses.config.distribution import DataParallel
from ml4ir_losses.core.errors import ConfigError
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.data.sharding import Shard
from ml4ir_losses.experiments.distribution.environment import is_address, place_of, whole_number
from ml4ir_losses.experiments.distribution.meeting import meet
from ml4ir_losses.experiments.distribution.single_model import copy_on_one_device
from ml4ir_losses.experiments.distribution.workers import Workers

_PATH = "training.distribution"
_ADDRESS, _COUNT, _RANK = (f"KERAS_DISTRIBUTION_{name}" for name in ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID"))
_DAY = 24 * 60 * 60


def workers(config: DataParallel) -> AbstractContextManager[DeviceWorkers]:
    """The devices of this process, or of all processes that the variables of `keras.distribution.initialize` name.

    Raises:
        ConfigError: for more devices than there are, for settings of torch, and when a process does not answer.
    """
    if config.workers is not None:
        raise ConfigError(
            f"{_PATH}.workers: is for torch; on JAX one process trains on all devices of a machine: set devices."
        )
    if config.shard == "files":
        raise ConfigError(f"{_PATH}.shard: files is for torch and TensorFlow; on JAX every process reads all files.")
    _join(config)
    devices = keras.distribution.list_devices()
    if config.devices is not None:
        devices = _first(devices, config.devices)
    LOGGER.info("data_parallel: %d devices, %s", len(devices), ", ".join(devices))
    return nullcontext(DeviceWorkers(devices))


def _first(devices: list[str], number: int) -> list[str]:
    """So many of the devices of this process."""
    import jax

    if jax.process_count() > 1:
        raise ConfigError(f"{_PATH}.devices: several processes train on all of their devices; leave it out.")
    if number > len(devices):
        advice = (
            f" Parts of the CPU count as devices with XLA_FLAGS=--xla_force_host_platform_device_count={number} in the "
            "environment, set before Python starts."
        )
        raise ConfigError(
            f"{_PATH}.devices: {number}, but JAX sees {len(devices)}: {', '.join(devices)}."
            + (advice if jax.default_backend() == "cpu" else "")
        )
    return devices[:number]


def _join(config: DataParallel) -> None:
    """Makes this process one of those that the environment names, if it does."""
    import jax

    if jax.distributed.is_initialized() or _ADDRESS not in os.environ:
        return
    address = os.environ[_ADDRESS].split(",")[0]
    rank, count = (whole_number(name) for name in (_RANK, _COUNT))
    if not is_address(address):
        raise ConfigError(f"{_ADDRESS} in the environment must be host:port of process 0. Received: {address!r}.")
    meet(place_of(address), rank, count, config.timeout)
    seconds = math.ceil(config.timeout)
    jax.distributed.initialize(
        address,
        count,
        rank,
        coordinator_bind_address=address,
        initialization_timeout=seconds,
        heartbeat_timeout_seconds=max(10, seconds),
        shutdown_timeout_seconds=_DAY,  # in which process 0 evaluates
    )


class DeviceWorkers(Workers):
    """The devices of all processes, each of which trains on its part of every batch.

    Every process reads whole batches, which the training step divides.

    Args:
        devices: their names.
    """

    def __init__(self, devices: list[str]) -> None:
        import jax

        super().__init__(jax.process_index(), jax.process_count(), len(devices), Shard(devices=len(devices)))
        self.distribution = _WholeBatches(devices=devices, auto_shard_dataset=False)

    def scope(self) -> AbstractContextManager[Any]:
        """The distribution as that of Keras, which ends with the context."""
        scope: AbstractContextManager[Any] = self.distribution.scope()
        return scope

    def maximum(self, value: int) -> int:
        """The largest value over all processes, each of which must call it at the same point."""
        if self.count == 1:
            return value
        from jax.experimental import multihost_utils

        halves = np.array([value], "int64").view("uint32")  # JAX has no 64 bits unless it is told to
        return int(np.ascontiguousarray(multihost_utils.process_allgather(halves)).view("int64").max())

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
