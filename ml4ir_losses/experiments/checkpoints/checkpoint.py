"""A checkpoint: what it holds, whether it fits a config, data and a model, and how a training takes it over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Protocol, runtime_checkable

import keras
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ml4ir_losses import __version__
from ml4ir_losses.config.load import AnyConfig, flat_config, flat_values
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import ConfigError, DataError, UserError
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.data.provenance import Source
from ml4ir_losses.data.sharding import Position
from ml4ir_losses.experiments.checkpoints.file import CheckpointError, CheckpointFile
from ml4ir_losses.model.state import config_digest, model_variables, set_random_state, values_of

_SHOWN = 4  # differing keys in a message
_CHANGES_NOTHING = (
    *("name", "expected_metrics", "tune", "data.accept", "data.cache", "data.directory"),
    *("training.checkpoint", "training.report", "training.loggers"),
)
"""Sections and keys of a config that may differ when a training goes on."""

Arrays = Sequence[Array]
_Whole = Annotated[int, Field(ge=0)]


@runtime_checkable
class Resumable(Protocol):
    """A part of a training, such as a callback, whose state is kept in checkpoints.

    Attributes:
        saved_as: the name of its state in a checkpoint.
    """

    saved_as: str

    def saved(self) -> tuple[dict[str, Any], Arrays]:
        """Its state: what JSON can hold, and arrays."""

    def resume(self, values: Mapping[str, Any], arrays: Arrays) -> None:
        """Takes over a state that `saved` gave."""


class Progress(BaseModel):
    """What a checkpoint holds beside its arrays.

    Attributes:
        position: the next epoch and batch.
        steps: the number of batches trained so far.
        stopped: True if early stopping ended the training.
        config: the config.
        sources: where the rows of each split came from, with a fingerprint.
        window_bytes: the size of the windows of queries on disk; None: all are in memory together.
        model: the digest of what the model is built from.
        untrained: the metrics of the untrained model by part.
        parts: the state of each `Resumable`.
        backend: of Keras.
        versions: of this package, Keras and the backend.
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    position: tuple[_Whole, _Whole] = Field(strict=False)
    steps: _Whole
    stopped: bool
    config: dict[str, Any]
    sources: dict[str, Source]
    window_bytes: _Whole | None
    model: str
    untrained: dict[str, dict[str, float]]
    parts: dict[str, dict[str, Any]]
    backend: str
    versions: dict[str, str]


def versions() -> dict[str, str]:
    """The versions on which the last digits of results depend."""
    backend = keras.backend.backend()
    return {"ml4ir_losses": __version__, "keras": keras.__version__, backend: import_module(backend).__version__}


def capture(
    model: Any, parts: Sequence[Resumable], metrics: Arrays, random: Arrays
) -> tuple[dict[str, Any], dict[str, Array]]:
    """What JSON can hold of the state of the parts, and all arrays of a training.

    Args:
        model: the model.
        parts: the callbacks that have a state.
        metrics: the values of the metrics, in the middle of an epoch.
        random: the state of the random numbers that are in no variable, in the middle of an epoch.
    """
    groups: dict[str, Arrays] = {name: values_of(variables) for name, variables in _variables(model).items()}
    groups |= {"metrics": metrics, "random": random}
    values = {}
    for part in parts:
        values[part.saved_as], groups[part.saved_as] = part.saved()
    return values, {f"{group}/{i}": array for group, arrays in groups.items() for i, array in enumerate(arrays)}


def _variables(model: Any) -> dict[str, list[Any]]:
    """The variables of a training by group."""
    return {"model": model_variables(model), "optimizer": list(model.optimizer.variables)}


class Checkpoint:
    """A checkpoint file that is known to be whole.

    Raises:
        CheckpointError: for a file that is damaged, or no checkpoint.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file = CheckpointFile(self.path)
        self._file.check()
        try:
            self.progress = Progress.model_validate(self._file.values)
            self._config = flat_values(self.progress.config)
        except (ValidationError, RecursionError):
            raise CheckpointError(f"{self.path}: is damaged: it does not hold the state of a training.") from None

    @property
    def position(self) -> Position:
        """The next batch."""
        return Position(*self.progress.position)

    def check(self, config: AnyConfig) -> None:
        """Checks that a training with this config goes on as the one that wrote the checkpoint would.

        Raises:
            ConfigError: for another backend or config, with the keys that differ.
        """
        backend = keras.backend.backend()
        if self.progress.backend != backend:
            raise ConfigError(
                f"{self.path}: was written on {self.progress.backend}, and this is {backend}: set "
                f"KERAS_BACKEND={self.progress.backend}."
            )
        check_config(self.path, self._config, config)
        for name, current in versions().items():
            if self.progress.versions.get(name) != current:
                written = self.progress.versions.get(name, "another version")
                LOGGER.warning(
                    "%s: was written with %s %s; this is %s, and the last digits of results may differ.",
                    self.path,
                    name,
                    written,
                    current,
                )

    def check_data(self, sources: Mapping[str, Mapping[str, Any]]) -> None:
        """Raises `DataError` if the rows of a split are not those that the checkpoint was trained on."""
        for split, before in self.progress.sources.items():
            if split in sources and sources[split]["sha256"] != before["sha256"]:
                raise DataError(
                    f"{self.path}: the data changed since it was written: {split} has {sources[split]['rows']:,} rows "
                    f"now, {before['rows']:,} then, and another checksum."
                )

    def restore(self, model: Any, parts: Sequence[Resumable]) -> None:
        """Gives a model the weights and the optimizer of the checkpoint, and each part its state.

        Args:
            model: the model, whose variables are all built.
            parts: the callbacks that have a state.

        Raises:
            ConfigError: for the checkpoint of another model.
        """
        groups = _variables(model)
        for group, variables in groups.items():
            self._check_shapes(group, variables)
        if self.progress.model != config_digest(model):
            raise ConfigError(f"{self.path}: is of another model: its inputs were fitted on other rows.")
        arrays = {part.saved_as: self._names(part.saved_as) for part in parts}
        for names in arrays.values():
            if names:
                self._check_shapes(names[0].partition("/")[0], model.weights)
        for group, variables in groups.items():
            self._assign(group, variables)
        for part in parts:
            if part.saved_as in self.progress.parts:
                values = [self._file.array(name) for name in arrays[part.saved_as]]
                with self._readable(part.saved_as):
                    part.resume(self.progress.parts[part.saved_as], values)

    def restore_metrics(self, model: Any) -> None:
        """Gives the metrics of a model the values that they had, in the middle of an epoch."""
        self._check_shapes("metrics", model.metrics_variables)
        self._assign("metrics", model.metrics_variables)

    def restore_random_state(self) -> None:
        """Restores the random numbers that are in no variable."""
        with self._readable("random"):
            set_random_state([self._file.array(name) for name in self._names("random")])

    @contextmanager
    def _readable(self, group: str) -> Iterator[None]:
        """Raises `CheckpointError` for any error: a file from elsewhere may hold anything for a part."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            raise CheckpointError(
                f"{self.path}: is damaged: {group} is not as a training writes it ({error})."
            ) from error

    def _names(self, group: str) -> list[str]:
        """The names of the arrays of a group, in their order."""
        names = [name for name in self._file.names if name.partition("/")[0] == group]
        with self._readable(group):
            return sorted(names, key=lambda name: int(name.partition("/")[2]))

    def _check_shapes(self, group: str, variables: Sequence[Any]) -> None:
        """Raises `ConfigError` unless the arrays of a group have the shapes of variables; no array is read."""
        names = self._names(group)
        if len(names) != len(variables):
            raise ConfigError(
                f"{self.path}: is of another model: {group} has {len(variables)} arrays, there {len(names)}."
            )
        for name, variable in zip(names, variables, strict=True):
            if self._file.shape(name) != tuple(variable.shape):
                raise ConfigError(
                    f"{self.path}: is of another model: {variable.path} has the shape {tuple(variable.shape)}, there "
                    f"{self._file.shape(name)}."
                )

    def _assign(self, group: str, variables: Sequence[Any]) -> None:
        for name, variable in zip(self._names(group), variables, strict=True):
            with self._readable(name):
                variable.assign(self._file.array(name))


def check_config(path: Path, written: Mapping[str, Any], config: AnyConfig) -> None:
    """Checks that the config of a file, by dotted keys, gives the results of another one.

    Raises:
        ConfigError: with the keys that differ.
    """
    before, now = written, flat_config(config)
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key) and _matters(key, before, now)]
    if keys:
        shown = [f"{key} is {_shown(now, key)}, there {_shown(before, key)}" for key in keys[:_SHOWN]]
        more = f", and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
        raise ConfigError(f"{path}: is of another config: {'; '.join(shown)}{more}.")


def _matters(key: str, *configs: Mapping[str, Any]) -> bool:
    """True for a key on which the result of a training depends."""
    if key.startswith("training.distribution."):
        # The batches, and so the results up to rounding, are those of one device unless the parts are what is given.
        section = "training.distribution"
        parts = [(c.get(f"{section}.batch_size"), c.get(f"{section}.shard")) for c in configs]
        return any(size == "per_replica" or shard == "files" for size, shard in parts)
    return not any(key == name or key.startswith(f"{name}.") for name in _CHANGES_NOTHING)


def _shown(values: Mapping[str, Any], key: str) -> str:
    return repr(values[key]) if key in values else "not given"
