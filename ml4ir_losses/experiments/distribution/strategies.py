"""Chooses the workers of a config's `training.distribution`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from ml4ir_losses.config.distribution import AnyDistribution, Mirrored, OneDevice
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
    raise ConfigError(f"training.distribution.strategy: {distribution.strategy!r} is not known here.")


def check_backend(strategy: str) -> None:
    """Raises `ConfigError` for a strategy that the backend cannot do."""
    import keras

    backend, allowed = keras.backend.backend(), BACKENDS.get(strategy, ())
    if backend not in allowed:
        raise ConfigError(
            f"training.distribution.strategy: {strategy} works on {' and '.join(allowed)}, and Keras runs on {backend}. "
            f"Use {_INSTEAD[backend]}, or set KERAS_BACKEND."
        )
