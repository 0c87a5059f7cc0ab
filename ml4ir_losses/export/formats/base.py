"""What every export format offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.export.graph import Artifact, Graph

Runner = Callable[[Mapping[str, Array]], Mapping[str, Array]]
"""Runs an exported graph on NumPy arrays by name."""


class ExportFormat:
    """Writes graphs into a folder, and runs what it wrote in the runtime of the format.

    Attributes:
        key: the name of the format.
        artifact: what the format can hold: raw columns with strings, or numbers and ids alone.
        extra: the extra of this package that installs the converter and the runtime; None: none is needed.
        quantizations: what `--quantize` may be.
        gives: the outputs that the format can give; None: all outputs of a graph.
        serving_default: of a format with a signature for each kind of request: what its default one takes, one of
            `signatures.DEFAULTS`; None: the format has no signatures.
        mapping: of a search engine: what each column is there, by the name of the column; None: there is no mapping.
    """

    key: ClassVar[str]
    artifact: ClassVar[Artifact]
    extra: ClassVar[str | None] = None
    quantizations: ClassVar[Sequence[str]] = ()
    gives: ClassVar[Sequence[str] | None] = None
    serving_default: str | None = None
    mapping: Mapping[str, Any] | None = None

    def check_installed(self) -> None:
        """Raises `UserError` with the command that installs what is missing."""

    def quantized(self, model: Any, quantize: str) -> Any:
        """The model whose graphs are written: a quantised copy where not `write` quantises."""
        return model

    def write(self, graphs: Sequence[Graph], folder: Path, quantize: str | None = None) -> Sequence[str]:
        """Converts the graphs, and gives the names of the files that were written.

        Raises:
            UserError: for what the format cannot hold, with what to use instead.
        """
        raise NotImplementedError

    def open(self, folder: Path) -> Mapping[str, Runner]:
        """The graphs of a folder by name, each run by the format's own runtime."""
        raise NotImplementedError
