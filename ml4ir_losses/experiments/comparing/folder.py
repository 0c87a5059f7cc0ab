"""The folder of a comparison: what it compares, and one file per finished run."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from ml4ir_losses.core.errors import ConfigError
from ml4ir_losses.core.files import write_atomically, write_text
from ml4ir_losses.experiments.comparing.plan import Outcome
from ml4ir_losses.experiments.held_folder import HELD, holds_only, make_folder
from ml4ir_losses.experiments.run_folder import unused_path

VERSION = 1
_FILE = "comparison.json"


class ComparisonFolder:
    """`comparison.json`, which says what is compared, and `runs/`, with a file per finished run.

    Args:
        path: an empty or new folder, or one of the same comparison, whose finished runs then count.
        subject: all that determines the runs beside what `Plan.key` covers: config, data, backend.

    Raises:
        ConfigError: for the folder of another comparison, of another version, or of anything else.
    """

    def __init__(self, path: str | Path, subject: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.subject = {"version": VERSION, **json.loads(json.dumps(subject))}
        if not holds_only(self.path, HELD):
            self._check()
        else:
            self._create()

    @staticmethod
    def place(name: str, path: str | Path | None) -> Path:
        """The path, or `runs/compare-<name>-<time>`.

        Raises:
            ConfigError: for a folder that holds something else.
        """
        place = Path(path or unused_path(f"compare-{name}"))
        if not holds_only(place, HELD):
            _read(place)
        return place

    def _create(self) -> None:
        make_folder(self.path / "runs")
        write_text(self.path / _FILE, json.dumps(self.subject, indent=2) + "\n")

    def _check(self) -> None:
        found = _read(self.path)
        if found.get("version") != VERSION:
            raise ConfigError(
                f"{self.path}: is a comparison of version {found.get('version')} of the format, and this one writes "
                f"version {VERSION}. Choose another --run-dir."
            )
        difference = _difference(found, self.subject)
        if difference:
            raise ConfigError(f"{self.path}: is another comparison: {difference}. Choose another --run-dir.")
        (self.path / "runs").mkdir(exist_ok=True)

    def save(self, key: str, outcome: Outcome) -> None:
        """Writes the file of a finished run, atomically."""
        header = asdict(replace(outcome, ids=None, values={}, weights={}))
        arrays: dict[str, Any] = {f"values/{name}": values for name, values in outcome.values.items()}
        arrays |= {f"weights/{name}": weights for name, weights in outcome.weights.items()}
        if outcome.ids is not None:
            arrays["ids"] = np.asarray([str(i) for i in outcome.ids])
        arrays["header"] = np.asarray(json.dumps(header))
        write_atomically(self._file(key), lambda path: np.savez_compressed(path, **arrays))

    def load(self, key: str) -> Outcome | None:
        """The outcome of a finished run; None if there is none that can be read."""
        try:
            with np.load(self._file(key)) as file:
                arrays = {name: file[name] for name in file.files}
            parts = {
                part: {n.removeprefix(f"{part}/"): v for n, v in arrays.items() if n.startswith(f"{part}/")}
                for part in ("values", "weights")
            }
            header = json.loads(str(arrays["header"]))
            return Outcome(**{**header, "ids": arrays.get("ids"), **parts})
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            return None

    def _file(self, key: str) -> Path:
        return self.path / "runs" / f"{key}.npz"


def _read(path: Path) -> dict[str, Any]:
    """What a folder compares; `ConfigError` for any other folder."""
    try:
        found = json.loads((path / _FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: exists and is not the folder of a comparison. Choose another --run-dir.")
    return found


def _difference(old: Any, new: Any, path: str = "") -> str:
    """The first difference of two JSON values, `config.model.loss was 'a' and is 'b'`; empty if they are equal."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            if difference := _difference(old.get(key), new.get(key), f"{path}.{key}".removeprefix(".")):
                return difference
        return ""
    return "" if old == new else f"{path} was {_short(old)} and is {_short(new)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
