"""Opens run folders."""

from __future__ import annotations

from pathlib import Path

from ml4ir_losses.config.load import load_config
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.experiments.experiment import Experiment, experiment_class
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
