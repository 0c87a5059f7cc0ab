"""Checks of an untrusted .keras file before it is unpacked or built."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import keras

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.memory import available_memory, readable_size
from ml4ir_losses.model.size import Size, size_of

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
MAX_CONFIG = 64 << 20  # bytes; a vocabulary of a million words takes 20 MB
MAX_EXPANSION = 100  # Keras does not compress; other programs reach a small factor
SLACK = 64 << 20  # allowed difference in bytes between stored weights and config
MAX_STATES = 8  # weights and the optimizer's state, in weights; Adam saves 3


def check_archive(path: Path) -> None:
    """Raises `UserError` for a file that is damaged, or whose content is larger than its config implies.

    The sizes are those of the zip's directory; Python's zipfile unpacks no more than they say.
    """
    with path.open("rb") as stream:
        start = stream.read(4)
    if not start:
        raise UserError(f"{path}: is empty.")
    if not zipfile.is_zipfile(path):
        if start == b"PK\x03\x04":
            raise UserError(f"{path}: is damaged: its end is missing. Copy or save the model again.")
        raise UserError(f"{path}: is not a model that can be loaded: it is no .keras file.")
    with zipfile.ZipFile(path) as archive:
        sizes = _sizes(path, archive)
        try:
            config = json.loads(archive.read(CONFIG))
        except RecursionError:
            raise UserError(f"{path}: {CONFIG} is nested too deeply.") from None
        except ValueError as error:
            raise UserError(f"{path}: {CONFIG} is not JSON ({error}).") from None
        except zipfile.BadZipFile as error:
            raise UserError(f"{path}: is damaged ({error}). Copy or save the model again.") from None
    if not isinstance(config, dict):
        raise UserError(f"{path}: {CONFIG} is not a mapping.")
    # The compile config is for training only; optimizer state is proportional to the weights.
    size = size_of(lambda: keras.saving.deserialize_keras_object({**config, "compile_config": None}))
    if size is not None:
        _check_weights(path, size, sizes[WEIGHTS])


def _sizes(path: Path, archive: zipfile.ZipFile) -> dict[str, int]:
    """The unpacked size of each member."""
    sizes = {member.filename: member.file_size for member in archive.infolist()}
    missing = next((name for name in (CONFIG, WEIGHTS) if name not in sizes), None)
    if missing is not None:
        raise UserError(f"{path}: holds no {missing}: it is not a model that Keras saved.")
    if sizes[CONFIG] > MAX_CONFIG:
        raise UserError(
            f"{path}: {CONFIG} would unpack to {readable_size(sizes[CONFIG])}; at most {readable_size(MAX_CONFIG)} "
            "are read."
        )
    for member in archive.infolist():
        if member.file_size > max(MAX_EXPANSION * member.compress_size, 1 << 20):
            raise UserError(
                f"{path}: {member.filename} would unpack from {readable_size(member.compress_size)} to "
                f"{readable_size(member.file_size)}; Keras saves nothing that grows so much."
            )
    available, total = available_memory(), sum(sizes.values())
    if available is not None and total > available:
        raise UserError(
            f"{path}: would unpack to {readable_size(total)}; {readable_size(available)} of memory are free."
        )
    return sizes


def _check_weights(path: Path, size: Size, stored_bytes: int) -> None:
    """Raises `UserError` unless the stored weights are about as large as those of its config."""
    if size.bytes > stored_bytes + SLACK or stored_bytes > MAX_STATES * size.bytes + SLACK:
        raise UserError(
            f"{path}: its config describes {size.parameters:,} parameters, {readable_size(size.bytes)}; the weights "
            f"in it take {readable_size(stored_bytes)}. They do not belong together."
        )
