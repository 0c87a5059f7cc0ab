"""The folder of a run: one process at a time works in it, each file is written atomically."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ml4ir_losses.core.checksums import drop_checksums, write_checksums
from ml4ir_losses.core.errors import ConfigError, DivergedError, NotWritten, UserError
from ml4ir_losses.core.files import flush_to_disk, remove_temporary, write_atomically, write_csv, write_text
from ml4ir_losses.core.interrupts import uninterrupted
from ml4ir_losses.experiments.held_folder import HeldFolder, is_unused
from ml4ir_losses.experiments.run_status import is_held

CHECKPOINTS, MODEL = "checkpoints", "model.keras"


def unused_path(name: str) -> Path:
    """`runs/<name>-<time>`, with a number where it exists."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    path = Path("runs", f"{name}-{stamp}")
    number = 1
    while path.exists():
        number += 1
        path = Path("runs", f"{name}-{stamp}-{number}")
    return path


class RunFolder(HeldFolder):
    """The files of a run: `config.yaml`, `data.json`, `metrics.json`, `history.csv`, `model.keras`, `log.txt` and more.

    Args:
        path: the folder.
        resume: a run in it that is not finished goes on.

    Raises:
        ConfigError: if the folder holds something else, a finished run (without `resume`), a run that can go on
            (without `resume`), or a run that another process trains.
    """

    def __init__(self, path: str | Path, resume: bool = False) -> None:
        path = Path(path)
        command = ["ml4ir-losses", "train", str(path / "config.yaml"), "--run-dir", str(path), "--resume"]
        super().__init__(path, "run", shlex.join(command))
        self.resume = resume
        self._check()

    @classmethod
    def named(cls, name: str, run_dir: str | Path | None = None, resume: bool = False) -> RunFolder:
        """The folder `run_dir`, or `runs/<name>-<time>`."""
        if run_dir is not None:
            return cls(run_dir, resume)
        if resume:
            raise ConfigError("--resume: give the folder of the run: --run-dir.")
        return cls(unused_path(name))

    def worth_keeping(self) -> bool:
        """True for a folder with a model or a checkpoint."""
        checkpoints = self.path / CHECKPOINTS
        return (self.path / MODEL).exists() or (checkpoints.is_dir() and any(checkpoints.iterdir()))

    def _check(self, held: bool = False) -> None:
        """`held`: this process holds the lock."""
        if is_unused(self.path):
            return
        found = self.found()
        if found is None and self.resume:
            raise ConfigError(f"{self.path}: is no run folder; it has no status.json. Choose --run-dir.")
        if found is not None and not held and is_held(self.path):
            raise self.in_use(found)
        if found is None or (found.state == "finished" and (held or not self.resume)):
            raise ConfigError(
                f"{self.path}: exists and is not empty; a run never overwrites another. Choose --run-dir."
            )
        if not self.resume and self.worth_keeping():
            what = found.model_copy(update={"state": "killed"} if found.state == "running" else {}).what
            raise ConfigError(
                f"{self.path}: holds a run that is not finished ({what}). Add --resume to go on with it, or choose "
                "another --run-dir."
            )

    def entered(self) -> None:
        """Checks again, for another process may have used the folder meanwhile, and removes temporary files."""
        self._check(held=True)
        for folder in (self.path, self.path / CHECKPOINTS, self.path / "plots"):
            remove_temporary(folder)
        drop_checksums(self.path)  # what they are of is written anew

    def complete(self) -> None:
        """Writes `files.json`."""
        write_checksums(self.path)

    def advice(self, error: BaseException) -> str:
        """What to do after an error: the command that goes on, and what to change before."""
        if isinstance(error, DivergedError):
            if not (self.path / MODEL).exists():
                return "the same --run-dir is free for another try"
            best = shlex.quote(f"training.initial_model={self.path}")
            return f"train in another folder; --set {best} starts from the best weights"
        if isinstance(error, NotWritten):
            return f"make room or allow writing there, then: {self.goes_on}"
        return f"mend that, then: {self.goes_on}" if isinstance(error, UserError) else self.goes_on

    def end_interrupted(self) -> None:
        """Writes that Ctrl-C or SIGTERM ended the run; what was evaluated after Ctrl-C is no end of the training."""
        if self.status.phase in ("saving", "evaluating") and not self.status.trained:
            self.status = self.status.model_copy(update={"phase": "training"})
        super().end_interrupted()

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

        def save(path: Path) -> None:
            model.save(path)
            flush_to_disk(path)

        with uninterrupted():
            write_atomically(self.path / MODEL, save, suffix=".keras")
