"""The model from which a training starts: `training.initial_model`."""

from __future__ import annotations

from typing import Any

from ml4ir_losses.config.explain import with_path
from ml4ir_losses.core.errors import ConfigError
from ml4ir_losses.model.loading import load_model

_WHERE = "training.initial_model"


def load_initial_model(path: str | None, kind: type[Any], name: str) -> Any:
    """The model of a run folder or .keras file; None if `path` is None.

    Args:
        path: the folder or file.
        kind: the class that the model must have.
        name: what messages call this class.

    Raises:
        ConfigError: for a path without such a model.
    """
    if path is None:
        return None
    model = with_path(_WHERE, lambda: load_model(path))
    if not isinstance(model, kind):
        raise ConfigError(f"{_WHERE}: {path} is not {name}.")
    return model


def copy_weights(target: Any, source: Any, path: str | None, other: str, advice: str, fits: bool = True) -> None:
    """Gives a model or layer the weights of another one.

    Args:
        target: the model or layer that is trained.
        source: that of `path`.
        path: the initial model.
        other: what the initial model has where the weights do not fit, such as "other layers".
        advice: the sections of the config that must be those of the run.
        fits: False refuses weights of equal shapes too.

    Raises:
        ConfigError: for weights of other shapes.
    """
    if not fits or [w.shape for w in target.weights] != [w.shape for w in source.weights]:
        raise ConfigError(f"{_WHERE}: {path} has {other} than this config; give {advice} of that run.")
    target.set_weights(source.get_weights())
