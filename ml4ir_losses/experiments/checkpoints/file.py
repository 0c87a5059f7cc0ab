"""The file of a checkpoint: its arrays in the safetensors format, all else as JSON in the header, and a checksum.

Nothing in it is code. The format refuses a file that is longer or shorter than its header says, so that no array is
larger than the file; the checksum covers the names, shapes and numbers of the arrays, and the JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.files import flush_to_disk, write_atomically

SUFFIX = ".safetensors"
_FORMAT, _VERSION = "ml4ir_losses checkpoint", "1"
_MAX_JSON = 64 << 20  # bytes; the history of 10,000 epochs takes 5 MB


class CheckpointError(DataError):
    """A file that is no whole checkpoint."""


def write_checkpoint(path: Path, values: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Writes a file that is there as a whole or not at all, also after a power cut.

    Args:
        path: the file.
        values: what JSON can hold.
        arrays: the arrays by name.

    Raises:
        DataError: when it cannot be written.
    """
    text = json.dumps(values)
    arrays = {name: np.require(array, requirements="C") for name, array in sorted(arrays.items())}
    digest = _digest(text, arrays.items())
    header = {"format": _FORMAT, "version": _VERSION, "sha256": digest, "values": text}

    def write(part: Path) -> None:
        part.touch()
        mode = part.stat().st_mode  # of a usual file: what safetensors writes is for its owner alone
        try:
            save_file(arrays, part, header)
            part.chmod(mode)
        except SafetensorError as error:
            number = re.search(r"\(os error (\d+)\)", str(error))
            raise (OSError(int(number[1]), os.strerror(int(number[1]))) if number else OSError(str(error))) from None
        flush_to_disk(part)

    write_atomically(path, write)
    with suppress(OSError):  # not every system can do this for a folder
        flush_to_disk(path.parent)


class CheckpointFile:
    """A file that was written by `write_checkpoint`; each array is read when it is asked for.

    Attributes:
        values: what was written beside the arrays.

    Raises:
        CheckpointError: for a file that is damaged, or no checkpoint; `check` reads the arrays, too.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            opened: Any = safe_open(path, framework="np")
            self._file, self._header = opened, opened.metadata() or {}
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path}: is damaged, or no checkpoint ({error}).") from None
        if self._header.get("format") != _FORMAT:
            raise CheckpointError(f"{path}: is no checkpoint of a training.")
        if self._header.get("version") != _VERSION:
            raise CheckpointError(f"{path}: was written by another version of ml4ir_losses.")
        if len(self._text) > _MAX_JSON:
            raise CheckpointError(f"{path}: is damaged: its header is too large.")
        try:
            self.values = json.loads(self._text)
        except (ValueError, RecursionError):
            raise CheckpointError(f"{path}: is damaged: its header is not JSON.") from None

    @property
    def _text(self) -> str:
        text: str = self._header.get("values", "")
        return text

    @property
    def names(self) -> list[str]:
        """The names of the arrays."""
        return sorted(self._file.keys())

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of an array, which is not read."""
        return tuple(self._file.get_slice(name).get_shape())

    def array(self, name: str) -> Array:
        """An array.

        Raises:
            CheckpointError: if it cannot be read.
        """
        try:
            array: Array = self._file.get_tensor(name)
        except (SafetensorError, OSError, TypeError, AttributeError) as error:  # numbers of a type that NumPy lacks
            raise CheckpointError(f"{self.path}: {name} cannot be read ({error}).") from None
        return array

    def check(self) -> None:
        """Raises `CheckpointError` unless the content is what was written."""
        if _digest(self._text, ((name, self.array(name)) for name in self.names)) != self._header.get("sha256"):
            raise CheckpointError(f"{self.path}: is damaged: its content is not that of its checksum.")


def _digest(text: str, arrays: Iterable[tuple[str, Array]]) -> str:
    digest = hashlib.sha256(text.encode())
    for name, array in arrays:
        digest.update(json.dumps([name, array.dtype.name, array.shape]).encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
