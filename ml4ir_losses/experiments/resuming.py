"""What an earlier process left of a run that goes on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml4ir_losses.config.load import AnyConfig, flat_config, load_config
from ml4ir_losses.core.checksums import run_file
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.experiments.checkpoints.checkpoint import Checkpoint, check_config
from ml4ir_losses.experiments.checkpoints.folder import latest_checkpoint
from ml4ir_losses.experiments.held_folder import HeldFolder
from ml4ir_losses.experiments.run_folder import CHECKPOINTS, MODEL
from ml4ir_losses.model.loading import load_model


@dataclass(frozen=True)
class Found:
    """What an earlier process left of a run.

    Attributes:
        path: the run folder.
        finished: true for a run with nothing left to do.
        model: the model of a run whose training was completed.
        checkpoint: where the training goes on.
    """

    path: Path = Path()
    finished: bool = False
    model: Any = None
    checkpoint: Checkpoint | None = None

    @property
    def goes_on(self) -> bool:
        """True where the training does not begin anew."""
        return self.model is not None or self.checkpoint is not None

    @classmethod
    def of(cls, run_dir: str | Path, config: AnyConfig) -> Found:
        """What a folder holds.

        Raises:
            ConfigError: for a run of another config, with the keys that differ.
        """
        path = Path(run_dir)
        status = HeldFolder(path, "run", "").found()
        if status is None:
            return cls(path)
        if status.state == "finished" or status.trained:
            written = run_file(path, "config.yaml")
            check_config(written, flat_config(load_config(written, alone=True)), config)
        if status.state == "finished":
            return cls(path, finished=True)
        if status.trained and (model := _trained(path)) is not None:
            return cls(path, model=model)
        checkpoint = latest_checkpoint(path / CHECKPOINTS)
        if checkpoint is not None:
            checkpoint.check(config)
        return cls(path, checkpoint=checkpoint)


def _trained(path: Path) -> Any:
    """The saved model of a run whose training was completed; None if it cannot be read."""
    try:
        return load_model(path / MODEL)
    except UserError as error:
        LOGGER.warning("%s The training goes on from the last checkpoint.", error)
        return None
