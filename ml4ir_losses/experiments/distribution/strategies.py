"""Chooses the workers of a config's `training.distribution`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from ml4ir_losses.config.distribution import AnyDistribution, DataParallel, Mirrored, MultiWorker, OneDevice
from ml4ir_losses.core.errors import ConfigError
from ml4ir_losses.experiments.distribution.workers import ONE_PROCESS, Workers

BACKENDS = {
    "mirrored": ("tensorflow",),
    "multi_worker": ("tensorflow",),
    "data_parallel": ("jax", "torch"),
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
    raise ConfigError(f"training.distribution.strategy: {distribution.strategy!r} is not known here.")


def _data_parallel(distribution: DataParallel) -> AbstractContextManager[Workers]:
    import keras

    if keras.backend.backend() == "jax":
        from ml4ir_losses.experiments.distribution import jax_workers

        return jax_workers.workers(distribution)
    from ml4ir_losses.experiments.distribution import torch_workers

    return torch_workers.workers(distribution)


def processes_to_start(distribution: AnyDistribution) -> int:
    """The number of local processes that a training is to start; 0 where it trains in this one."""
    if not isinstance(distribution, DataParallel) or distribution.workers is None:
        return 0
    check_backend(distribution.strategy)
    import keras

    if keras.backend.backend() != "torch":
        return 0
    from ml4ir_losses.experiments.distribution import torch_workers

    return 0 if torch_workers.is_launched() else distribution.workers


def check_backend(strategy: str) -> None:
    """Raises `ConfigError` for a strategy that the backend cannot do."""
    import keras

    backend, allowed = keras.backend.backend(), BACKENDS.get(strategy, ())
    if backend not in allowed:
        raise ConfigError(
            f"training.distribution.strategy: {strategy} works on {' and '.join(allowed)}; Keras runs on {backend}. "
            f"Use {_INSTEAD[backend]}, or set KERAS_BACKEND."
        )
