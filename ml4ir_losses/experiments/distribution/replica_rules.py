"""Batch size and learning rate of a training on several devices."""

from __future__ import annotations

import math
from typing import Any

from ml4ir_losses.config.distribution import OneDevice
from ml4ir_losses.config.load import AnyConfig, reads_texts
from ml4ir_losses.config.schedules import CyclicSchedule, OptimizedModel
from ml4ir_losses.core.log import LOGGER


def for_replicas(config: AnyConfig, replicas: int) -> AnyConfig:
    """The config with the batch size and the learning rate that `training.distribution` asks for.

    With `batch_size: per_replica` the batch size is multiplied by the number of replicas, and the learning rate by 1
    (`constant`), by that number (`linear`) or by its square root (`sqrt`).

    Sources: Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour" (2017), for `linear`;
    Krizhevsky, "One weird trick for parallelizing convolutional neural networks" (2014), for `sqrt`.
    """
    rules = config.training.distribution
    if isinstance(rules, OneDevice) or rules.batch_size == "global":
        return config
    factor = {"constant": 1.0, "linear": float(replicas), "sqrt": math.sqrt(replicas)}[rules.learning_rate]
    scaled = config.model_copy(
        update={"data": _larger_batches(config, replicas), "model": _faster(config.model, factor)}
    )
    rate = config.model.optimizer.learning_rate
    LOGGER.info(
        "global batch %d = %d x %d replicas, learning rate %g = %g x %g",
        *(scaled.data.batch_size, config.data.batch_size, replicas, rate * factor, rate, factor),
    )
    return scaled


def _larger_batches(config: AnyConfig, replicas: int) -> Any:
    """The data section with larger batches."""
    update: dict[str, Any] = {"batch_size": config.data.batch_size * replicas}
    if reads_texts(config):
        update["datasets"] = {
            name: one.model_copy(update={"batch_size": one.batch_size and one.batch_size * replicas})
            for name, one in config.data.datasets.items()
        }
    return config.data.model_copy(update=update)


def _faster(model: OptimizedModel, factor: float) -> OptimizedModel:
    """The model section with a larger learning rate."""
    rate = model.optimizer.learning_rate * factor
    update: dict[str, Any] = {"optimizer": model.optimizer.model_copy(update={"learning_rate": rate})}
    if isinstance(schedule := model.lr_schedule, CyclicSchedule):
        bounds = ("initial_learning_rate", "maximal_learning_rate")
        update["lr_schedule"] = schedule.model_copy(update={name: getattr(schedule, name) * factor for name in bounds})
    return model.model_copy(update=update)
