"""The checkpoints of a run: which files there are, the latest whole one, and how many are kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.checksums import run_file
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.data.sharding import Position
from ml4ir_losses.experiments.checkpoints.checkpoint import Checkpoint, Progress
from ml4ir_losses.experiments.checkpoints.file import SUFFIX, CheckpointError, write_checkpoint
from ml4ir_losses.experiments.held_folder import make_folder

_NAME = re.compile(rf"(\d+)-(\d+){re.escape(SUFFIX)}")


def path_of(folder: Path, position: Position) -> Path:
    """The file of a checkpoint."""
    return folder / f"{position.epoch:05}-{position.batch:09}{SUFFIX}"


def written(folder: Path) -> dict[Position, Path]:
    """The files of checkpoints, the newest one first; they need not be whole."""
    files = folder.iterdir() if folder.is_dir() else ()
    found = [(match, path) for path in files if (match := _NAME.fullmatch(path.name))]
    by_position = {Position(int(match[1]), int(match[2])): path for match, path in found}
    return dict(sorted(by_position.items(), key=lambda item: _order(item[0]), reverse=True))


def latest_checkpoint(folder: str | Path) -> Checkpoint | None:
    """The newest whole checkpoint of a folder, or None; a warning names each newer one that cannot be used."""
    for position, path in written(Path(folder)).items():
        try:
            checkpoint = Checkpoint(run_file(Path(folder).parent, f"{Path(folder).name}/{path.name}"))
            if checkpoint.position != position:
                raise CheckpointError(f"{path}: is damaged: it is the checkpoint of another batch.")
            return checkpoint
        except UserError as error:
            LOGGER.warning("%s It is not used, but the one before it.", error)
    return None


def write(folder: Path, progress: Progress, arrays: Mapping[str, Array], keep: int) -> None:
    """Writes a checkpoint, then removes all but the newest `keep`.

    Raises:
        ConfigError, DataError: when it cannot be written; then none is removed.
    """
    position = Position(*progress.position)
    make_folder(folder)
    for left in folder.glob(".*"):  # by a process that was killed while it wrote
        left.unlink()
    write_checkpoint(path_of(folder, position), progress.model_dump(), arrays)
    files = written(folder)
    # Those beyond it are not of this training: they are damaged, or of an earlier one that went on from elsewhere.
    kept = [other for other in files if _order(other) <= _order(position)][:keep]
    for other, path in files.items():
        if other not in kept:
            path.unlink(missing_ok=True)


def _order(position: Position) -> tuple[int, int]:
    return position.epoch, position.batch
