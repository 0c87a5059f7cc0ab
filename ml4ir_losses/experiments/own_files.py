"""`training.distribution.shard: files`: each process of a training reads its own files."""

from __future__ import annotations

import itertools
import json
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ml4ir_losses.config.distribution import reads_own_files
from ml4ir_losses.config.in_memory import SPLITS
from ml4ir_losses.config.load import AnyConfig
from ml4ir_losses.config.schema import Config
from ml4ir_losses.config.text_schema import TextConfig
from ml4ir_losses.core.errors import ConfigError, DataError, LostProcess, UserError
from ml4ir_losses.core.files import read_json, write_text
from ml4ir_losses.core.heartbeat import repeated
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.data.own_files import OwnFiles
from ml4ir_losses.data.provenance import joined
from ml4ir_losses.data.readers import paths_of
from ml4ir_losses.experiments.distribution.workers import Workers
from ml4ir_losses.experiments.feature_data import FeatureData, fit_training_split, read_features
from ml4ir_losses.features.fitted import FittedInput
from ml4ir_losses.features.kinds import load_fitted

_PATH = "training.distribution.shard"
_PAUSE = 0.2  # seconds between two looks at a file


@contextmanager
def together(workers: Workers) -> Iterator[None]:
    """A block that fails on all processes where it fails on one, so that none waits for it."""
    failure: UserError | None = None
    try:
        yield
    except UserError as error:
        failure = error
    if workers.count > 1 and workers.maximum(int(failure is not None)) and failure is None:
        failure = DataError("Another process of the training cannot use its config or data; its message says why.")
    if failure is not None:
        raise failure


def read_own_files(config: AnyConfig, workers: Workers, run_dir: str | Path | None) -> FeatureData | None:
    """The data of a process that reads its own files; None where every process reads all files.

    File i of `data.train` belongs to process i modulo the number of processes. The inputs are fitted on all files by
    the chief, the other processes get them through the run folder.

    Args:
        config: the config.
        workers: the processes.
        run_dir: the run folder, which all processes see.

    Raises:
        ConfigError, DataError: on all processes, for what is wrong on one of them.
        LostProcess: when the chief does not answer.
    """
    if workers.count == 1 or isinstance(config, TextConfig) or not reads_own_files(config.training.distribution):
        return None
    files = _files(config, workers.count)
    if run_dir is None:
        raise ConfigError(f"{_PATH}: files needs a run folder that all processes see; choose --run-dir.")
    with together(workers):
        inputs = _fitted_by_chief(config, workers, Path(run_dir))
    own = files[workers.rank :: workers.count]
    LOGGER.info("train: this process reads %d of %d files, from %s on", len(own), len(files), own[0])
    with together(workers):
        data = read_features(_with_files(config, own), inputs)
    described = _of_all(workers, Path(run_dir), {**data.sources["train"], "queries": len(data.queries["train"])})
    queries = tuple(part["queries"] for part in described)
    return data._replace(
        sources={**data.sources, "train": joined(described)},
        own_files=OwnFiles(workers.rank, queries, config.data.batch_size),
    )


def _files(config: Config, count: int) -> list[str]:
    """The files of the training split, at least one for each process."""
    files = paths_of(config.data.paths("train"))
    if len(files) < count:
        raise ConfigError(
            f"{_PATH}: files needs a file of data.train for each process. Received: {len(files)} files for {count} "
            "processes. Use batches."
        )
    if config.data.batch_size < count:
        raise ConfigError(f"data.batch_size: {count} processes cannot share {config.data.batch_size} queries.")
    return files


def _with_files(config: Config, files: Sequence[str]) -> Config:
    """The config with other files of the training split."""
    others = {split: config.data.paths(split) for split in SPLITS[1:] if getattr(config.data, split) is not None}
    data = config.data.model_copy(update={"directory": None, "train": list(files), **others})
    return config.model_copy(update={"data": data})


def _fitted_by_chief(config: Config, workers: Workers, run_dir: Path) -> Sequence[FittedInput] | None:
    """The inputs as the chief fits them on all files; None where an initial model has them."""
    if config.training.initial_model is not None:
        return None
    path = _new_file(workers, run_dir, "features")
    if workers.chief:
        with _signs_of_life(path.with_suffix(".alive")):
            write_text(path, json.dumps(_fitted(config)))
    else:
        _wait_for(path, config.training.distribution.timeout)  # type: ignore[union-attr]
    found: dict[str, Any] = read_json(path)
    workers.maximum(0)  # all have read it
    if workers.chief:
        path.unlink(missing_ok=True)
    if "error" in found:
        raise DataError(found["error"])
    return load_fitted(found["inputs"])


def _of_all(workers: Workers, run_dir: Path, value: dict[str, Any]) -> list[dict[str, Any]]:
    """The values of all processes, in JSON's types, in their order."""
    paths = [_new_file(workers, run_dir, f"process-{rank}") for rank in range(workers.count)]
    write_text(paths[workers.rank], json.dumps(value))
    workers.maximum(0)  # all have written
    found = [read_json(path) for path in paths]
    workers.maximum(0)  # all have read
    paths[workers.rank].unlink(missing_ok=True)
    return found


def _new_file(workers: Workers, run_dir: Path, name: str) -> Path:
    """A path on which all processes agree; its number makes it one of this training, and marks it as temporary."""
    return run_dir / f".{name}.{workers.maximum(secrets.randbits(60) if workers.chief else 0)}.json"


def _fitted(config: Config) -> dict[str, Any]:
    """The fitted inputs, or why there are none, in JSON's types."""
    try:
        return {"inputs": [fitted.model_dump(mode="json") for fitted in fit_training_split(config)[0]]}
    except UserError as error:
        return {"error": str(error)}


@contextmanager
def _signs_of_life(path: Path) -> Iterator[None]:
    """A block during which a file is written again and again, for those who wait for its end."""
    numbers = itertools.count(1)
    try:
        with repeated(lambda: path.write_text(str(next(numbers))), _PAUSE):
            yield
    finally:
        path.unlink(missing_ok=True)


def _wait_for(path: Path, seconds: float) -> None:
    """Returns when a file is there; `LostProcess` when its writer has given no sign of life for so many seconds."""
    alive, seen, since = path.with_suffix(".alive"), None, time.monotonic()
    while not path.exists():
        sign = alive.read_text() if alive.exists() else None
        if sign != seen:
            seen, since = sign, time.monotonic()
        elif time.monotonic() - since > seconds:
            raise LostProcess(
                f"Process 0 of the training, which fits the features, gave no sign of life in {path.parent} for "
                f"{seconds:g} s ({_PATH.replace('shard', 'timeout')}). The folder must be one that all processes see."
            )
        time.sleep(_PAUSE)
