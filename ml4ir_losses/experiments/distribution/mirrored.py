"""Training on the devices of one machine with TensorFlow."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ml4ir_losses.config.distribution import Mirrored
from ml4ir_losses.core.errors import ConfigError
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.experiments.distribution.tensorflow_workers import StrategyWorkers


def workers(distribution: Mirrored) -> StrategyWorkers:
    """One process with a copy of the model on each of its devices.

    Raises:
        ConfigError: for more devices than there are.
    """
    import tensorflow as tf

    devices = _devices(tf, distribution.devices)
    LOGGER.info("mirrored: %d devices, %s", len(devices), ", ".join(devices))
    return StrategyWorkers(_strategy(tuple(devices)))


@lru_cache
def _strategy(devices: tuple[str, ...]) -> Any:
    """The strategy of devices, one for each process: two of them would mix up what their devices exchange."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(list(devices))


def _devices(tf: Any, number: int | None) -> list[str]:
    """The names of GPUs; without a GPU those of parts of the CPU, by default of one."""
    gpus = len(tf.config.list_physical_devices("GPU"))
    if not gpus:
        return _parts_of_cpu(tf, number or 1)
    if number is not None and number > gpus:
        raise ConfigError(f"training.distribution.devices: {number}, but TensorFlow sees {gpus} GPUs.")
    return [f"GPU:{index}" for index in range(number or gpus)]


def _parts_of_cpu(tf: Any, number: int) -> list[str]:
    """The names of parts of the CPU, each a device for TensorFlow."""
    parts = [tf.config.LogicalDeviceConfiguration() for _ in range(number)]
    try:
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)
    except RuntimeError:  # TensorFlow already uses the CPU as it is
        known = len(tf.config.list_logical_devices("CPU"))
        if known < number:
            raise ConfigError(
                f"training.distribution.devices: {number} parts of the CPU must be made before TensorFlow starts to "
                f"work, and it already works with {known}: train in a new process."
            ) from None
    return [f"CPU:{index}" for index in range(number)]
