"""Opens run folders."""

from __future__ import annotations

from pathlib import Path

from ml4ir_losses.config.load import load_run_config
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.experiments.experiment import Experiment, experiment_class
from ml4ir_losses.experiments.run_status import check_run
from ml4ir_losses.model.loading import load_model


def open_run(run: str | Path) -> Experiment:
    """The config and the model of a run folder; a warning is logged for a run that is not finished.

    Raises:
        UserError: if the folder holds no model of a run.
    """
    path = Path(run)
    check_run(path)
    config = load_run_config(path)
    kind, model = experiment_class(config), load_model(path)
    if not isinstance(model, kind.model_class):
        raise UserError(f"{path}: its model and its config do not belong together.")
    return kind.of_run(config, model)
