"""Writes a model in the format of another runtime, and compares it with Keras before it is called done."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ml4ir_losses import __version__
from ml4ir_losses.core.errors import NotWritten, UserError, check_choice, unknown_name
from ml4ir_losses.core.files import write_text
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.export import preprocessing
from ml4ir_losses.export.checking import TOLERANCE, Checked, check
from ml4ir_losses.export.formats import get_format
from ml4ir_losses.export.formats.base import ExportFormat
from ml4ir_losses.export.graph import Artifact, Graph, TensorInfo
from ml4ir_losses.export.model_graphs import cases_of, facts_of, graphs_of, sample_rows
from ml4ir_losses.export.precision import in_float32
from ml4ir_losses.export.preprocessing_spec import preprocessing_spec
from ml4ir_losses.export.signatures import DEFAULTS
from ml4ir_losses.ops.backend import is_backend

RECORD = "export.json"


@dataclass(frozen=True)
class Exported:
    """An export that was compared with Keras.

    Attributes:
        path: the folder.
        format: the key of the format.
        artifact: `serve` takes raw columns, `score` what `preprocessing.json` describes.
        files: the files of the folder.
        differences: the largest difference from Keras by the number of documents, relative to values above 1.
        tolerance: what the differences were allowed to be; None: they were measured alone.
        rows: which rows were compared.
        same_order: the share of pairs of documents in Keras' order; None for texts that are embedded.
    """

    path: Path
    format: str
    artifact: Artifact
    files: Sequence[str]
    differences: dict[int, float]
    tolerance: float | None
    rows: str
    same_order: float | None

    def __str__(self) -> str:
        differences = ", ".join(f"{value:.2g} at {size:,}" for size, value in self.differences.items())
        limit = "" if self.tolerance is None else f" (at most {self.tolerance:g} is allowed)"
        order = ""
        if self.tolerance is None and self.same_order is not None:
            order = f"; {self.same_order:.2%} of the pairs are in Keras' order"
        return f"largest difference from Keras by number of documents: {differences}{limit}{order}; on {self.rows}"


def export_model(
    model: Any,
    path: str | Path,
    format: str = "saved_model",
    *,
    quantize: str | None = None,
    data: Any = None,
    mapping: Mapping[str, Any] | None = None,
    serving_default: str | None = None,
) -> Exported:
    """Writes the model into a new folder, which appears only once it gives what Keras gives.

    Args:
        model: a model of this package.
        path: the folder that is written; there must be no such file or folder.
        format: the key of a format.
        quantize: how the weights are quantised, such as `int8`; None: they are not.
        data: a file, or data in memory, with the rows on which both are compared; None: rows are made up.
        mapping: for a search engine, what each column is there; None, and for other columns: a field of the same name.
        serving_default: of a SavedModel: what the signature of this name takes: `columns`, as None, or what that of
            TF-Ranking does, `predict` for lists or `regress` for single documents.

    Raises:
        UserError: for a path that exists, an unknown format, a package that is missing, what the format cannot hold,
            and a difference from Keras above the tolerance. Nothing is written then.
    """
    path = Path(path)
    target = check_can_export(path, format, quantize, mapping, serving_default)
    model = in_float32(model)
    written = model if quantize is None else target.quantized(model, quantize)
    graphs = _given(graphs_of(written, target), target)
    rows = sample_rows(model, data)
    with _new_folder(path) as part:
        target.write(graphs, part, quantize)
        if target.artifact == "score":
            _write_preprocessing(model, part)
        tolerance = TOLERANCE if quantize is None else None
        checked = check(cases_of(model, target, graphs, rows), target.open(part), tolerance)
        described = rows.source if data is None else f"{len(rows):,} rows of {rows.source}"
        write_text(
            part / RECORD, _record(target, graphs, facts_of(model, target), quantize, checked, tolerance, described)
        )
        files = sorted(str(file.relative_to(part)) for file in part.rglob("*") if file.is_file())
    return Exported(path, format, target.artifact, files, checked.differences, tolerance, described, checked.same_order)


@contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    """A temporary folder that gets the name `path` once all is done; else nothing is left of it.

    Raises:
        NotWritten: when it cannot be written.
    """
    missing = [folder for folder in path.parents if not folder.exists()]
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.mkdir(parents=True)
        yield part
        part.rename(path)
    except OSError as error:
        raise NotWritten(f"{path}: cannot be written ({error.strerror or error}).") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
        for folder in missing:
            with suppress(OSError):  # it is not empty
                folder.rmdir()


def check_can_export(
    path: Path,
    format: str,
    quantize: str | None = None,
    mapping: Mapping[str, Any] | None = None,
    serving_default: str | None = None,
) -> ExportFormat:
    """The format, once it is clear that a model may be written.

    Raises:
        UserError: as `export_model`.
    """
    target = get_format(format)
    if quantize is not None and quantize not in target.quantizations:
        raise UserError(unknown_name(f"quantisation of {format}", quantize, target.quantizations))
    if os.path.lexists(path):
        raise UserError(f"{path}: exists already; an export is written into a new folder.")
    if not is_backend("tensorflow"):
        raise UserError("export: runs on TensorFlow; set KERAS_BACKEND=tensorflow, which loads the same model.")
    if mapping is not None:
        if target.mapping is None:
            raise UserError(f"{format}: takes no mapping of columns; search engines do.")
        target.mapping = mapping
    if serving_default is not None:
        if target.serving_default is None:
            raise UserError(f"{format}: has no signature serving_default; saved_model does.")
        check_choice(DEFAULTS, serving_default=serving_default)
        target.serving_default = serving_default
    target.check_installed()
    return target


def _given(graphs: Sequence[Graph], target: ExportFormat) -> Sequence[Graph]:
    """The graphs with the outputs that the format gives, without others."""
    if target.gives is None:
        return graphs
    named = [graph for graph in graphs if graph.outputs.keys() >= set(target.gives)]
    return [replace(graph, outputs={name: graph.outputs[name] for name in target.gives}) for graph in named]


def _write_preprocessing(model: Any, folder: Path) -> None:
    """Writes how raw values become the inputs of the graphs, and the reader of that, which needs NumPy alone."""
    try:
        spec = preprocessing_spec(model)
    except UserError as error:  # of a tokenizer: the graphs take its token ids all the same
        LOGGER.warning("preprocessing.json is left out: %s", error)
        return
    write_text(folder / "preprocessing.json", json.dumps(spec, ensure_ascii=False) + "\n")
    shutil.copyfile(preprocessing.__file__, folder / "preprocessing.py")


def _record(
    target: ExportFormat,
    graphs: Sequence[Graph],
    facts: Mapping[str, Any],
    quantize: str | None,
    checked: Checked,
    tolerance: float | None,
    rows: str,
) -> str:
    record = {
        "format": target.key,
        "artifact": target.artifact,
        "ml4ir_losses": __version__,
        "quantize": quantize,
        **facts,
        "graphs": {g.name: {"inputs": _infos(g.inputs), "outputs": _infos(g.outputs)} for g in graphs},
        "checked": {
            "rows": rows,
            "differences": {str(size): value for size, value in checked.differences.items()},
            "tolerance": tolerance,
            "same_order": checked.same_order,
        },
    }
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


def _infos(tensors: Any) -> dict[str, Any]:
    return {name: _info(tensor) for name, tensor in tensors.items()}


def _info(tensor: TensorInfo) -> dict[str, Any]:
    column = {} if tensor.column is None else {"column": tensor.column}
    return {"shape": list(tensor.shape), "dtype": tensor.dtype, **column}
