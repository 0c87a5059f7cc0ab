"""`files.json`, the checksums of a run folder, and the checks of its files before they are read.

The record tells damage and exchange: a config that was edited, a model of another run. It proves nothing about who made
the folder; what keeps an untrusted folder harmless are the checks of each file.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ml4ir_losses import __version__
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.files import read_json, write_text
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.core.memory import readable_size

RECORD = "files.json"
RECORDED = (
    *("config.yaml", "model.keras", "data.json", "history.csv", "metrics.json", "baselines.json", "importance.json"),
    *("explanations.json", "predictions.csv", "per_query.csv", "times.csv", "log.txt", "estimator.json"),
)
"""The files that some command reads again."""


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _File(_Strict):
    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Record(_Strict):
    version: Literal[1]
    package: str | None = None  # the version of this package that wrote the run
    files: dict[str, _File]


def write_checksums(folder: Path) -> None:
    """Writes `files.json`: the size and SHA-256 of each file of a finished run that is read again."""
    found = {name: _checksum(folder / name) for name in RECORDED if (folder / name).is_file()}
    record = _Record(version=1, package=__version__, files=found)
    write_text(folder / RECORD, json.dumps(record.model_dump(), indent=2) + "\n")


def drop_checksums(folder: Path) -> None:
    """Removes `files.json`, before the files are written anew."""
    (folder / RECORD).unlink(missing_ok=True)


def run_file(folder: Path, name: str, limit: int | None = None) -> Path:
    """The path of a file of a run folder; there need not be such a file.

    Args:
        folder: the run folder.
        name: the name of the file, or its path in the folder.
        limit: the most bytes that it may have.

    Raises:
        UserError: for a link that leads out of the folder, a pipe, a device, a folder, or a larger file.
    """
    path = folder / name
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise UserError(f"{path}: is a link that leads out of the run folder; copy the file into it.")
    try:
        status = path.stat()
    except FileNotFoundError:
        return path
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}).") from None
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path}: is not a file.")
    if limit is not None and status.st_size > limit:
        raise UserError(
            f"{path}: has {readable_size(status.st_size)}; at most {readable_size(limit)} of such a file are read."
        )
    return path


def is_changed(folder: Path, name: str) -> bool:
    """True if a file is not as the run wrote it, was added or removed; False if the folder has no `files.json`.

    Raises:
        UserError: for a damaged `files.json`.
    """
    record = _read_record(folder)
    if record is None:
        return False
    path, recorded = run_file(folder, name), record.files.get(name)
    if recorded is None or not path.exists():
        return path.exists() or recorded is not None
    try:
        return path.stat().st_size != recorded.bytes or _checksum(path) != recorded
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}).") from None


def warn_of_change(folder: Path, name: str) -> bool:
    """As `is_changed`, with a warning in the log: users edit configs, and results may then be others."""
    changed = is_changed(folder, name)
    if changed:
        LOGGER.warning("%s: is not as the run wrote it; results may differ from those of the run.", folder / name)
    return changed


def check_unchanged(folder: Path, name: str) -> None:
    """Raises `UserError` if a file is not as the run wrote it."""
    if is_changed(folder, name):
        raise UserError(
            f"{folder / name}: is not as the run wrote it: its checksum is not that of {RECORD}. Copy the run again; "
            f"if it was changed on purpose, remove {folder / RECORD}."
        )


@contextmanager
def naming_version(folder: Path) -> Iterator[None]:
    """Says which version of this package wrote a run that cannot be read in the block, where it was another one."""
    try:
        yield
    except UserError as error:
        try:
            record = _read_record(folder)
        except UserError:
            record = None
        if record is None or record.package in (None, __version__):
            raise
        raise type(error)(
            f"{folder}: was written by ml4ir-losses {record.package} and cannot be read by {__version__}: install that "
            f"version, or train the run again ({error})."
        ) from error


def _read_record(folder: Path) -> _Record | None:
    path = run_file(folder, RECORD, 1 << 20)
    found = read_json(path)
    if found is None and not path.exists():
        return None
    try:
        return _Record.model_validate(found)
    except ValidationError:
        raise UserError(
            f"{path}: is damaged: it does not hold the checksums that a run writes. Copy the run again."
        ) from None


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    return _checksum(path).sha256


def _checksum(path: Path) -> _File:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
        return _File(bytes=stream.tell(), sha256=digest.hexdigest())
