"""Chooses the workers of a config's `training.distribution`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ml4ir_losses.config.distribution import AnyDistribution, OneDevice
from ml4ir_losses.core.errors import ConfigError
from ml4ir_losses.experiments.distribution.workers import ONE_PROCESS, Workers


@contextmanager
def workers_of(distribution: AnyDistribution) -> Iterator[Workers]:
    """The workers of a training, ready while the context is open.

    Raises:
        ConfigError: for a strategy that the backend cannot do.
    """
    if not isinstance(distribution, OneDevice):
        raise ConfigError(f"training.distribution.strategy: {distribution.strategy!r} is not known here.")
    yield ONE_PROCESS
