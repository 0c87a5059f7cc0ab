"""Fitted estimators in folders and in pickles."""

from __future__ import annotations

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ml4ir_losses.config.load import dump_config
from ml4ir_losses.core.checksums import drop_checksums, run_file, warn_of_change, write_checksums
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.files import read_json, write_atomically
from ml4ir_losses.estimators.settings import plain
from ml4ir_losses.experiments.open_run import open_run
from ml4ir_losses.model.loading import load_model

_MODEL, _CONFIG, _ESTIMATOR = "model.keras", "config.yaml", "estimator.json"
_FITTED = ("evals_result_", "best_iteration_", "n_features_in_")
_NAMES = "feature_names_in_"


def save_estimator(estimator: Any, folder: Path) -> None:
    """Writes a fitted estimator into a folder: its model and config as in a run folder, and `estimator.json`."""
    fitted = {name: getattr(estimator, name) for name in _FITTED}
    if hasattr(estimator, _NAMES):
        fitted[_NAMES] = list(getattr(estimator, _NAMES))
    parameters = {**estimator.get_params(), "random_state": estimator.config_.training.seed}
    texts = {
        _CONFIG: dump_config(estimator.config_),
        _ESTIMATOR: json.dumps({"parameters": plain(parameters), "fitted": fitted}, indent=2) + "\n",
    }
    folder.mkdir(parents=True, exist_ok=True)
    drop_checksums(folder)
    write_atomically(folder / _MODEL, estimator.model_.save, suffix=".keras")
    for name, text in texts.items():
        write_atomically(folder / name, partial(Path.write_text, data=text, encoding="utf-8"))
    write_checksums(folder)


def load_estimator(kind: type, folder: Path) -> Any:
    """The estimator of a class in a folder that `save_estimator` wrote.

    Raises:
        UserError: for any other folder.
    """
    try:
        state = read_json(run_file(folder, _ESTIMATOR, 64 << 20))
        estimator = kind(**state["parameters"])
        fitted = {name: state["fitted"][name] for name in _FITTED}
        names = state["fitted"].get(_NAMES)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder}: is not a folder that `save` of an estimator wrote ({error}).") from None
    warn_of_change(folder, _ESTIMATOR)
    run = open_run(folder)
    fitted |= {"config_": run.config, "model_": run.model}
    for name, value in (fitted if names is None else {**fitted, _NAMES: np.array(names, object)}).items():
        setattr(estimator, name, value)
    return estimator


def model_bytes(model: Any) -> bytes:
    """The model as the content of a .keras file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, _MODEL)
        model.save(path)
        return path.read_bytes()


def model_of(content: bytes) -> Any:
    """The model in the content of a .keras file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, _MODEL)
        path.write_bytes(content)
        return load_model(path)
