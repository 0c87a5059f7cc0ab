"""Where encoded data are kept between runs, and the fingerprints by which they are found again."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.files import is_url

_DAYS = 30  # what no run has used for so long is removed
_SAMPLE = 1 << 16  # bytes at the start, in the middle and at the end of a file that are part of its fingerprint

FileFacts = dict[str, Any]
"""What tells one version of the files from another; see `file_facts`."""


class Cache:
    """A folder of encoded data.

    Args:
        setting: a folder; True or None: that of the user; False: a temporary folder, removed with this object.

    Attributes:
        folder: the folder.
        kept: True if the next run finds what is in it.

    Raises:
        DataError: for a folder that cannot be written.
    """

    def __init__(self, setting: str | bool | None = None) -> None:
        self.kept = setting is not False
        if not self.kept:
            self._temporary = tempfile.TemporaryDirectory(prefix="ml4ir_losses-", ignore_cleanup_errors=True)
            self.folder = Path(self._temporary.name)
            return
        named = isinstance(setting, str)
        self.folder = Path(str(setting)).expanduser() if named else _user_folder()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if named:
                raise DataError(f"data.cache: {self.folder} cannot be written ({error.strerror}).") from None
            self.folder = Path(tempfile.gettempdir(), f"ml4ir_losses-{os.getuid() if hasattr(os, 'getuid') else ''}")
            self.folder.mkdir(parents=True, exist_ok=True)
        self._clean()

    def path(self, key: str) -> Path:
        """The path of a key, marked as used now if there is something."""
        path = self.folder / key
        if path.exists():
            os.utime(path)
        return path

    def _clean(self) -> None:
        """Removes what has not been used for long, and what ended processes of this host left unfinished."""
        for path in self.folder.iterdir():
            if path.name.startswith("."):
                outdated = _is_abandoned(path)
            else:
                outdated = len(path.stem) == _KEY and path.stat().st_mtime < time.time() - _DAYS * 86400
            if outdated:
                remove(path)


def remove(path: Path) -> None:
    """Removes a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def unfinished(path: Path) -> Path:
    """The name of a part of `path` while it is written, which tells the host and the process."""
    return path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}")


def _is_abandoned(path: Path) -> bool:
    """True for an unfinished part of a process of this host that has ended."""
    name, _, process = path.name.rpartition(".")
    if os.name == "nt" or not name.endswith(f".{socket.gethostname()}") or not process.isdecimal():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        pass
    return False


def _user_folder() -> Path:
    """The folder for caches of this user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser(), "ml4ir_losses")


_KEY = 40


def cache_key(*parts: Any) -> str:
    """A key of everything that what is kept depends on, in JSON's types."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY]


def file_facts(paths: Iterable[str], options: Mapping[str, Any] | None = None) -> FileFacts | None:
    """Size, time of change and a sample of the content of files, of files named like them, and of those in options.

    None where the data are no files of this machine: they are not kept for the next run.
    """
    named = [str(value) for value in (options or {}).values() if isinstance(value, str) and os.path.isfile(value)]
    found: FileFacts = {}
    for path in [*paths, *named]:
        if is_url(path) or not os.path.exists(path):
            return None
        beside = sorted(glob.glob(f"{glob.escape(path)}.*"))  # such as the sizes of queries
        inside = sorted(str(p) for p in Path(path).rglob("*") if p.is_file()) if os.path.isdir(path) else [path]
        for file in (*inside, *(other for other in beside if os.path.isfile(other))):
            found[os.path.abspath(file)] = _facts(file)
    return found


def _facts(path: str) -> list[Any]:
    status = os.stat(path)
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for start in sorted({0, max(0, status.st_size // 2), max(0, status.st_size - _SAMPLE)}):
            file.seek(start)
            digest.update(file.read(_SAMPLE))
    return [status.st_size, status.st_mtime_ns, digest.hexdigest()]
