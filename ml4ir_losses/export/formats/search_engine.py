"""What the formats of search engines share: a model as files that an engine loads, and a mapping of its columns."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import UserError, did_you_mean
from ml4ir_losses.core.files import write_text
from ml4ir_losses.export.features import input_names
from ml4ir_losses.export.formats.base import ExportFormat, Runner
from ml4ir_losses.export.graph import Artifact, Graph
from ml4ir_losses.export.native.additive import Additive, additive

NAME = "relevance"
"""The name of the model in the engine."""
MAPPING = "mapping.json"

Columns = Mapping[str, Array]
"""Cells by column, [documents] each: floats with NaN, or strings with "" where they are missing."""


class SearchEngine(ExportFormat):
    """Writes runs of `linear` and `gam` as a native model of a search engine.

    The engine gives the logit. Files are checked by an evaluator of the engine's documented rules.
    """

    artifact: ClassVar[Artifact] = "serve"
    gives: ClassVar[Sequence[str]] = ("logit",)

    def __init__(self) -> None:
        self.mapping: Mapping[str, Any] = {}

    def write(self, graphs: Sequence[Graph], folder: Path, quantize: str | None = None) -> Sequence[str]:
        model = additive(graphs[0].owner)
        columns = [info.column or name for name, info in graphs[0].inputs.items()]
        unknown = next((column for column in self.mapping if column not in columns), None)
        if unknown is not None:
            raise UserError(f"mapping: no input reads a column {unknown!r}.{did_you_mean(unknown, columns)}")
        mapping = {column: self.mapping.get(column, self.default(column)) for column in columns}
        files = {**self.files(model, mapping), MAPPING: _json(mapping)}
        for name, text in files.items():
            write_text(folder / name, text)
        return list(files)

    def open(self, folder: Path) -> Mapping[str, Runner]:
        mapping = json.loads((folder / MAPPING).read_text(encoding="utf-8"))
        names = input_names([*mapping])

        def run(x: Mapping[str, Array]) -> Mapping[str, Array]:
            shape = next(iter(x.values())).shape
            columns = {column: x[name].reshape(-1) for column, name in names.items()}
            for column, cells in columns.items():
                if self.always_given(mapping[column]) and is_missing(cells).any():
                    raise UserError(
                        f"mapping: the column {column!r} has missing cells; the score of a query, 0 where nothing "
                        "matches, is never missing. Map it to a field, or give rows without missing cells."
                    )
            return {"logit": self.logits(folder, mapping, columns).astype("float32").reshape(shape)}

        return dict.fromkeys(("serving_default", "with_mask"), run)

    def default(self, column: str) -> Any:
        """What a column is in the engine where the mapping does not say it."""
        return column

    def always_given(self, mapped: Any) -> bool:
        """True if what the column is in the engine has a value in every document."""
        raise NotImplementedError

    def files(self, model: Additive, mapping: Mapping[str, Any]) -> Mapping[str, str]:
        """The files of the engine by name."""
        raise NotImplementedError

    def logits(self, folder: Path, mapping: Mapping[str, Any], columns: Columns) -> Array:
        """What the engine computes from the files for some documents, [documents]."""
        raise NotImplementedError


class Names:
    """Different names for the parts of a model that are made of letters, digits and underscores."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self.taken = set(taken)

    def __call__(self, wanted: str) -> str:
        """The wanted name or one like it."""
        base = re.sub(r"\W", "_", wanted, flags=re.ASCII)
        base = base if re.match("[A-Za-z]", base) else f"column_{base}"
        name, number = base, 1
        while name in self.taken:
            number += 1
            name = f"{base}_{number}"
        self.taken.add(name)
        return name


def _json(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def with_columns(expression: str, mapping: Mapping[str, str]) -> str:
    """The expression with column(i) for what the i-th column is in the engine."""
    number = {mapped: i for i, mapped in enumerate(mapping.values())}
    longest_first = "|".join(re.escape(mapped) for mapped in sorted(number, key=len, reverse=True))
    return re.sub(rf"(?<!\w)({longest_first})(?![\w(])", lambda match: f"column({number[match[1]]})", expression)


def is_missing(cells: Array) -> Array:
    """The cells that are missing."""
    return cells == "" if cells.dtype == object else np.isnan(cells)
