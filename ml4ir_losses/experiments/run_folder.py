"""The folder of a run: never overwritten, each file is written atomically."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ml4ir_losses.core.errors import ConfigError, UserError
from ml4ir_losses.core.files import write_atomically, write_csv, write_text
from ml4ir_losses.core.log import LOGGER


def make_folder(path: Path) -> None:
    """Makes a folder; `ConfigError` if that is not possible."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_writable(path, error) from None


def _not_writable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{path}: cannot be written ({error.strerror}). Choose --run-dir.")


@contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Copies the log into a file of a folder that is made if it does not exist; lines are appended.

    Raises:
        ConfigError: if it cannot be written.
    """
    make_folder(path.parent)
    try:
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise _not_writable(path.parent, error) from None
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = LOGGER.level
    LOGGER.setLevel(logging.INFO)
    LOGGER.addHandler(handler)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(level)
        handler.close()


def unused_path(name: str) -> Path:
    """`runs/<name>-<time>`, with a number where it exists."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    path = Path("runs", f"{name}-{stamp}")
    number = 1
    while path.exists():
        number += 1
        path = Path("runs", f"{name}-{stamp}-{number}")
    return path


class RunFolder:
    """The files of a run: `config.yaml`, `data.json`, `metrics.json`, `history.csv`, `model.keras`, `log.txt` and more.

    Raises:
        ConfigError: if the folder exists and is not empty.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._check_empty()

    def _check_empty(self) -> None:
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise ConfigError(
                f"{self.path}: exists and is not empty; a run never overwrites another. Choose --run-dir."
            )

    @classmethod
    def named(cls, name: str, run_dir: str | Path | None = None) -> RunFolder:
        """The folder `run_dir`, or `runs/<name>-<time>`."""
        if run_dir is not None:
            return cls(run_dir)
        return cls(unused_path(name))

    @contextmanager
    def logging(self) -> Iterator[None]:
        """Creates the folder and copies the log into its `log.txt`.

        A failure before the model is saved frees the folder name: after a `UserError` the folder is removed, after
        any other error it is renamed to `<folder>.failed` and keeps the log.
        """
        self._check_empty()  # another run may have used the folder meanwhile
        failure: BaseException | None = None
        try:
            with log_file(self.path / "log.txt"):
                try:
                    yield
                except BaseException as error:
                    failure = error
                    LOGGER.error("The run failed.", exc_info=True, extra={"file_only": True})
                    raise
        finally:
            if failure is not None and not (self.path / "model.keras").exists():
                self._clear(keep=not isinstance(failure, UserError))

    def _clear(self, keep: bool) -> None:
        """Removes the folder, or renames it to `<folder>.failed`."""
        if not keep:
            shutil.rmtree(self.path, ignore_errors=True)
            return
        target, number = self.path.with_name(f"{self.path.name}.failed"), 1
        while target.exists():
            number += 1
            target = self.path.with_name(f"{self.path.name}.failed-{number}")
        try:
            self.path.rename(target)
        except OSError:  # the folder is a mount point, or the current directory
            target = self.path
        LOGGER.error("the log of the failed run is kept: %s", target / "log.txt")

    def write_text(self, name: str, text: str) -> None:
        """Writes a text file atomically."""
        write_text(self.path / name, text)

    def write_json(self, name: str, value: Any) -> None:
        """Writes a JSON file atomically."""
        self.write_text(name, json.dumps(value, indent=2) + "\n")

    def write_csv(self, name: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Writes a CSV file atomically."""
        write_csv(self.path / name, header, rows)

    def save_model(self, model: Any) -> None:
        """Writes `model.keras` atomically."""
        write_atomically(self.path / "model.keras", model.save, suffix=".keras")
