"""Evaluates a run on new data, predicts with it, and validates a config without training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ml4ir_losses.config.load import AnyConfig, load_config
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.experiments.experiment import Experiment, experiment_class, prepare
from ml4ir_losses.model.loading import load_model


def open_run(run: str | Path) -> Experiment:
    """The config and the model of a run folder.

    Raises:
        UserError: if the folder is not a finished run.
    """
    path = Path(run)
    if not (path / "config.yaml").is_file() or not (path / "model.keras").is_file():
        raise UserError(f"{path}: is not a run folder; it needs config.yaml and model.keras.")
    config = load_config(path / "config.yaml")
    return experiment_class(config).of_run(config, load_model(path))


def evaluate(run: str | Path, data: Any) -> dict[str, float]:
    """The metrics of a run on labelled data: a file, or data in memory as `train` takes them.

    For a text run, `data` may also be `retrieval` or `reranking`.

    Raises:
        UserError, DataError: for a folder that is not a run, or invalid data.
    """
    return open_run(run).evaluate(data)


def predict(run: str | Path, data: Any, output: str | Path) -> int:
    """Writes `query_id,document_id,label,logit,score,rank` of every document; the label column may be missing.

    `data` is a file or data in memory. Lists are not truncated. A run over pairs of texts writes
    `anchor,positive,cosine` and the probability of each class where it has classes. Returns the number of rows.

    Raises:
        UserError, DataError: for a folder that is not a run, or invalid data.
    """
    return open_run(run).predict(data, output)


def check(
    config: str | Path | Mapping[str, Any] | AnyConfig,
    *,
    data: Any = None,
    overrides: Iterable[str] = (),
    seed: int | None = None,
) -> dict[str, Any]:
    """Validates a config and its data without training: `{"parameters": n, "splits": {split: {...}}}`.

    `data`: data in memory in the place of the config's files, as in `train`.

    Raises:
        ConfigError, DataError: one line for what is wrong.
    """
    return prepare(load_config(config, overrides, seed, data)).summary()
