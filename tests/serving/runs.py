"""Small runs on disk, and services of them."""

import contextlib
from pathlib import Path
from typing import Any

import small
from ml4ir_losses import train


def feature_run(folder: Path, **sections: Any) -> Path:
    """A run on the small data of features, trained for an epoch."""
    small.write_splits(folder)
    config = small.config(folder, **{"training": {"epochs": 1}, **sections})
    train(config, folder / "run")
    return folder / "run"


class Current:
    """A service that is never replaced."""

    def __init__(self, service: Any) -> None:
        self.service = service

    @contextlib.contextmanager
    def use(self) -> Any:
        yield self.service
