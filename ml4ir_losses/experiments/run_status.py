"""What a run is at any time: `status.json` of its folder, and the lock that its process holds."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from ml4ir_losses.core.checksums import run_file
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.log import LOGGER

LOCK, STATUS = ".lock", "status.json"
_MAX_BYTES = 1 << 16

Kind = Literal["run", "search", "comparison"]
State = Literal["running", "finished", "interrupted", "failed", "killed"]
Phase = Literal["reading", "training", "saving", "evaluating"]


class RunStatus(BaseModel):
    """What a run is, and what may be done next.

    Attributes:
        kind: what the folder is for.
        state: what the process is doing or has done. `killed` is never written: it is a process that is gone although
            the file says that it runs.
        phase: what it does, or did at its end.
        epoch: the epoch that is trained, from 1; 0 before the first one.
        epochs: the number of epochs at most.
        batch: the number of batches of the epoch that were trained.
        batches: the number of batches of an epoch, an estimate if unknown.
        trained: true when the training was completed and `model.keras` holds its result.
        host: the machine of the process.
        pid: its process number there.
        started: when it began, or went on, in UTC.
        updated: when the file was written, in UTC.
        message: why it ended.
        next: the command that goes on, or what to change.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Kind = "run"
    state: State
    phase: Phase
    epoch: int = 0
    epochs: int = 0
    batch: int = 0
    batches: int = 0
    trained: bool = False
    host: str = ""
    pid: int = 0
    started: str = ""
    updated: str = ""
    message: str = ""
    next: str = ""

    @property
    def place(self) -> str:
        """`training in epoch 3`."""
        return f"{self.phase} in epoch {self.epoch}" if self.phase == "training" and self.epoch else self.phase

    @property
    def owner(self) -> str:
        """`process 12 on HOST, since TIME`."""
        return f"process {self.pid} on {self.host}, since {self.started}"

    @property
    def what(self) -> str:
        """`killed while training in epoch 3`."""
        if self.state == "finished":
            return self.state
        if self.state == "running":
            of_epochs = f" of {self.epochs}, batch {self.batch} of {self.batches}" if self.phase == "training" else ""
            return f"running, {self.place}{of_epochs} ({self.owner}; written {self.updated})"
        by = f" by {self.message}" if self.state == "interrupted" and self.message else ""
        why = f": {self.message}" if self.state == "failed" and self.message else ""
        return f"{self.state}{by} while {self.place}{why}".removesuffix(".")

    @property
    def text(self) -> str:
        """What the run is and what to do next, in one line."""
        text = self.what
        if self.state not in ("running", "finished") and self.next:
            text += f"; {'go on with: ' if self.next.startswith('ml4ir-losses ') else ''}{self.next}"
        # The file may come from elsewhere, and terminals obey control characters.
        return "".join(character if character.isprintable() else " " for character in text)


def now() -> str:
    """The time in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def written_status(path: Path) -> RunStatus | None:
    """What `status.json` of a folder says; None where there is none.

    Raises:
        UserError: for a file that is no status.
    """
    file = run_file(path, STATUS, _MAX_BYTES)
    try:
        if not file.exists():
            return None
        return RunStatus.model_validate_json(file.read_bytes())
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}).") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(
            f"{file}: is not the status of a run ({where + ': ' if where else ''}{first['msg']})."
        ) from None


def run_status(run: str | Path) -> RunStatus:
    """What a run, a search or a comparison is: running, finished, interrupted, failed or killed.

    Args:
        run: its folder.

    Raises:
        UserError: for a folder that holds none.
    """
    path = Path(run)
    status = written_status(path)
    if status is None:
        what = "is not the folder of a run; it has no status.json" if path.exists() else "there is no such folder"
        raise UserError(f"{path}: {what}.")
    if status.state == "running" and not is_held(path):
        # The process may have ended between the two looks.
        status = written_status(path) or status
        if status.state == "running":
            return status.model_copy(update={"state": "killed"})
    return status


def is_held(path: Path) -> bool:
    """True if a process holds the lock of a folder, or this cannot be told."""
    file = path / LOCK
    if not file.exists():
        return False
    lock = FileLock(file, timeout=0, thread_local=False)
    try:
        with lock:
            return False
    except (Timeout, OSError, NotImplementedError, RuntimeError):
        return True


def not_finished(run: str | Path) -> str:
    """One line on a run that is not finished; empty for one that is or is about to, and where nothing is known."""
    path = Path(run)
    if not path.is_dir() or written_status(path) is None:
        return ""
    status = run_status(path)
    own = status.state == "running" and (status.host, status.pid) == (socket.gethostname(), os.getpid())
    return "" if own or status.state == "finished" else f"{path}: the run is not finished: {status.text}"


def check_run(run: str | Path) -> None:
    """Logs a warning for a run that is not finished.

    Raises:
        UserError: if the folder holds no model of a run.
    """
    path = Path(run)
    unfinished = not_finished(path)
    if unfinished and not (path / "model.keras").is_file():
        raise UserError(unfinished)
    if unfinished:
        LOGGER.warning("%s", unfinished)
    if not (path / "config.yaml").is_file() or not (path / "model.keras").is_file():
        raise UserError(f"{path}: is not a run folder; it needs config.yaml and model.keras.")
