"""A folder that one process works in: locked, with a `status.json` that says how far the work is, and a log."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import sys
import threading
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ml4ir_losses.core.errors import ConfigError, NotWritten, RunError, UserError
from ml4ir_losses.core.files import write_text
from ml4ir_losses.core.heartbeat import repeated
from ml4ir_losses.core.interrupts import signal_name
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.experiments.run_status import LOCK, STATUS, Kind, RunStatus, now, written_status

LOG = "log.txt"
HELD = (LOCK, STATUS, LOG)
"""The files of a folder in which a process works."""

_WAIT = 1.0  # seconds for the lock, which `run_status` holds for an instant
_BEAT = 30.0  # seconds between two writings of status.json at most


def make_folder(path: Path) -> None:
    """Makes a folder; `ConfigError` if that is not possible."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_writable(path, error) from None


def _not_writable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{path}: cannot be written ({error.strerror}). Choose --run-dir.")


def holds_only(path: Path, names: Container[str]) -> bool:
    """True for a folder that does not exist, or holds nothing but files of these names."""
    return not path.exists() or (path.is_dir() and all(file.name in names for file in path.iterdir()))


def is_unused(path: Path) -> bool:
    """True for a folder that does not exist, or holds nothing but a lock."""
    return holds_only(path, (LOCK,))


class HeldFolder:
    """A folder that one process works in.

    Args:
        path: the folder.
        kind: what the work is.
        goes_on: how to go on with the work if it ends early.

    Attributes:
        status: what `status.json` says.
    """

    def __init__(self, path: str | Path, kind: Kind, goes_on: str) -> None:
        self.path, self.kind, self.goes_on = Path(path), kind, goes_on
        self.status = RunStatus(kind=kind, state="running", phase="reading")
        self._writing = threading.Lock()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Makes and locks the folder and copies the log into its `log.txt`, to which lines are appended.

        A `UserError` removes a folder that was empty before, and a `ConfigError` leaves the status of another one as it
        was; else `status.json` says how the block ended.

        Raises:
            ConfigError: if the folder cannot be written, or another process works in it.
            RunError: if a file in it cannot be written any more.
        """
        unused, made = is_unused(self.path), _missing(self.path)
        make_folder(self.path)
        with self._locked():
            if unused and not is_unused(self.path):
                unused = False  # another process was faster
            self.entered()
            before = None if unused else self.found()
            self.status = RunStatus(
                kind=self.kind,
                state="running",
                phase="reading",
                trained=before is not None and before.trained,
                host=socket.gethostname(),
                pid=os.getpid(),
                started=now(),
                next=self.goes_on,
            )
            try:
                self.update()
                with _log_file(self.path / LOG), repeated(self._beat, _BEAT):
                    yield
                self.complete()
                if self.status.state == "running":
                    self.update(state="finished", message="", next="")
            except NotWritten as error:
                self._failed(error)
                raise RunError(str(error)) from None
            except UserError as error:
                if unused and not self.worth_keeping():
                    self._remove(made)
                elif before is not None and isinstance(error, ConfigError):
                    self._write(before)
                else:
                    self._failed(error)
                raise
            except KeyboardInterrupt:
                self.end_interrupted()
                raise
            except BaseException as error:
                self._failed(error)
                raise

    def found(self) -> RunStatus | None:
        """What an earlier process wrote about such work in the folder; None where there was none."""
        try:
            status = written_status(self.path)
        except UserError:  # the machine went down while it was written
            return RunStatus(kind=self.kind, state="running", phase="reading")
        return status if status is not None and status.kind == self.kind else None

    def entered(self) -> None:
        """What is checked and cleared when the folder is locked."""

    def complete(self) -> None:
        """What is written when the work has ended without an error and the log is closed."""

    def worth_keeping(self) -> bool:
        """True if the folder holds more than a log: then it stays after an error."""
        return not holds_only(self.path, HELD)

    def update(self, **changes: Any) -> None:
        """Changes the status and writes it."""
        self._write(self.status.model_copy(update=changes))

    def _write(self, status: RunStatus) -> None:
        with self._writing:
            self.status = status.model_copy(update={"updated": now()})
            write_text(self.path / STATUS, self.status.model_dump_json(indent=2) + "\n")

    def end_interrupted(self) -> None:
        """Writes that Ctrl-C or SIGTERM ended the work."""
        with suppress(NotWritten):
            self.update(state="interrupted", message=signal_name())

    def _failed(self, error: BaseException) -> None:
        """Writes what ended the work, if the disk takes it."""
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        try:
            self.update(state="failed", message=reason, next=self.advice(error))
        except NotWritten:
            self._overwrite()

    def _overwrite(self) -> None:
        """Writes the status into the block that its file has: a full disk takes no other file."""
        with suppress(OSError), (self.path / STATUS).open("r+b") as file:
            file.write(self.status.model_dump_json(indent=2).encode())
            file.truncate()

    def in_use(self, status: RunStatus | None) -> ConfigError:
        """The error that another process works in the folder."""
        owner = "another process" if status is None else status.owner
        return ConfigError(f"{self.path}: is in use by {owner}. Wait for it, or choose another --run-dir.")

    def progress(self, **changes: int) -> None:
        """Changes the status, which is written within half a minute."""
        self.status = self.status.model_copy(update=changes)

    def advice(self, error: BaseException) -> str:
        """What to do after an error."""
        return self.goes_on

    def _remove(self, made: list[Path]) -> None:
        """Removes the folder, and those that were made for it."""
        shutil.rmtree(self.path, ignore_errors=True)
        for folder in made:
            with suppress(OSError):  # it holds something else by now
                folder.rmdir()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Holds the lock, which the kernel releases when the process ends, however it ends."""
        lock = FileLock(self.path / LOCK, timeout=_WAIT, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            raise self.in_use(written_status(self.path)) from None
        except OSError as error:
            raise _not_writable(self.path, error) from None
        except NotImplementedError:
            raise ConfigError(f"{self.path}: its file system has no locks. Choose another --run-dir.") from None
        try:
            yield
        finally:
            lock.release()

    def _beat(self) -> None:
        """Writes the status again, so that `updated` and the progress in it are recent."""
        with suppress(NotWritten):  # the next file that is needed tells what is wrong with the disk
            self.update()


def _missing(path: Path) -> list[Path]:
    """The folders above a path that do not exist, the deepest first."""
    return [folder for folder in path.parents if not folder.exists()]


class _LogFile(logging.FileHandler):
    """A log file. On a full disk one line on the terminal says so, and the work goes on."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8")
        self.failed = False

    def tell(self, level: int, text: str, error: Any = None) -> None:
        """Writes a line into this file alone, with the traceback of an error, which is shown by who catches it."""
        self.handle(LOGGER.makeRecord(LOGGER.name, level, __file__, 0, text, (), error))

    def handleError(self, record: logging.LogRecord) -> None:
        if not self.failed:
            self.failed = True
            LOGGER.warning("%s: cannot be written; log lines are lost.", self.baseFilename)

    def close(self) -> None:
        with suppress(OSError):  # what it had buffered does not fit on the disk
            super().close()


@contextmanager
def _log_file(path: Path) -> Iterator[None]:
    """Copies the log into a file, and the traceback of an error that ends the block.

    Raises:
        ConfigError: if it cannot be written.
    """
    try:
        handler = _LogFile(path)
    except OSError as error:
        raise _not_writable(path.parent, error) from None
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = LOGGER.level
    LOGGER.setLevel(logging.INFO)
    LOGGER.addHandler(handler)
    try:
        yield
    except KeyboardInterrupt:
        handler.tell(logging.WARNING, "stopped")
        raise
    except BaseException:
        handler.tell(logging.ERROR, "The run failed.", sys.exc_info())
        raise
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(level)
        handler.close()
