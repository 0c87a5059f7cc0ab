"""Opens run folders."""

from __future__ import annotations

from pathlib import Path

from ml4ir_losses.config.load import load_run_config
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
    config = load_run_config(path)
    kind, model = experiment_class(config), load_model(path)
    if not isinstance(model, kind.model_class):
        raise UserError(f"{path}: its model and its config do not belong together.")
    return kind.of_run(config, model)
