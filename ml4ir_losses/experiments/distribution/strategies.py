"""Chooses the workers of a config's `training.distribution`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from ml4ir_losses.config.distribution import AnyDistribution, DataParallel, Mirrored, MultiWorker, OneDevice, RayTrain
from ml4ir_losses.core.errors import ConfigError
from ml4ir_losses.experiments.distribution.environment import IN_RAY
from ml4ir_losses.experiments.distribution.workers import ONE_PROCESS, Workers

Launcher = Callable[[Callable[..., Any], Mapping[str, Any]], Any]
"""Calls a function with arguments in several processes and returns what process 0 returns."""

BACKENDS = {
    "mirrored": ("tensorflow",),
    "multi_worker": ("tensorflow",),
    "data_parallel": ("jax", "torch"),
    "ray": ("tensorflow", "torch"),
}
"""The backends on which each strategy works."""

_INSTEAD = {
    "tensorflow": "mirrored (the devices of one machine) or multi_worker (several processes)",
    "jax": "data_parallel",
    "torch": "data_parallel",
}


def workers_of(distribution: AnyDistribution) -> AbstractContextManager[Workers]:
    """The workers of a training, ready while the context is open.

    Raises:
        ConfigError: for a strategy that the backend cannot do.
    """
    if isinstance(distribution, OneDevice):
        return nullcontext(ONE_PROCESS)
    check_backend(distribution.strategy)
    if isinstance(distribution, Mirrored):
        from ml4ir_losses.experiments.distribution import mirrored

        return nullcontext(mirrored.workers(distribution))
    if isinstance(distribution, MultiWorker):
        from ml4ir_losses.experiments.distribution import multi_worker

        return nullcontext(multi_worker.workers(distribution))
    if isinstance(distribution, DataParallel):
        return _data_parallel(distribution)
    return workers_of(_engine(distribution))


def _engine(distribution: RayTrain) -> MultiWorker | DataParallel:
    """How the processes that Ray started train together."""
    rules = {name: getattr(distribution, name) for name in ("batch_size", "learning_rate", "shard", "timeout")}
    if _runs_on("tensorflow"):
        return MultiWorker(strategy="multi_worker", **rules)
    return DataParallel(strategy="data_parallel", **rules)


def _data_parallel(distribution: DataParallel) -> AbstractContextManager[Workers]:
    if _runs_on("jax"):
        from ml4ir_losses.experiments.distribution import jax_workers

        return jax_workers.workers(distribution)
    from ml4ir_losses.experiments.distribution import torch_workers

    return torch_workers.workers(distribution)


def launcher_of(distribution: AnyDistribution) -> Launcher | None:
    """What starts the processes of a training; None where it trains in this process.

    Raises:
        ConfigError: for a strategy that the backend cannot do.
    """
    if isinstance(distribution, RayTrain) and IN_RAY not in os.environ:
        check_backend(distribution.strategy)
        from ml4ir_losses.experiments.distribution.ray_train import run_on_ray

        return partial(run_on_ray, distribution=distribution)
    if isinstance(distribution, DataParallel) and distribution.workers is not None:
        check_backend(distribution.strategy)
        from ml4ir_losses.experiments.distribution.local_processes import run_locally
        from ml4ir_losses.experiments.distribution.torch_workers import is_launched

        return None if not _runs_on("torch") or is_launched() else partial(run_locally, count=distribution.workers)
    return None


def _runs_on(backend: str) -> bool:
    import keras

    return bool(keras.backend.backend() == backend)


def check_backend(strategy: str) -> None:
    """Raises `ConfigError` for a strategy that the backend cannot do."""
    import keras

    backend, allowed = keras.backend.backend(), BACKENDS[strategy]
    if backend not in allowed:
        raise ConfigError(
            f"training.distribution.strategy: {strategy} works on {' and '.join(allowed)}; Keras runs on {backend}. "
            f"Use {_INSTEAD[backend]}, or set KERAS_BACKEND."
        )
