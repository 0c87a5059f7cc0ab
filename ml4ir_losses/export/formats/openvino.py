"""The format `openvino`: `<graph>.xml` and `<graph>.bin`, converted and run by OpenVINO."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.extras import import_extra
from ml4ir_losses.core.quiet import quiet
from ml4ir_losses.export.formats.base import ExportFormat, Runner
from ml4ir_losses.export.formats.conversion import as_typed, concrete_function, converting, files_of, original, save
from ml4ir_losses.export.graph import Graph

ENDING = ".xml"
EXACT = {"INFERENCE_PRECISION_HINT": "f32"}
"""The options of the runtime: its default precision changes scores by 1%."""


class OpenVINO(ExportFormat):
    """OpenVINO's format with dynamic sizes; int8 compresses the weights."""

    key = "openvino"
    artifact = "score"
    extra = "openvino"
    quantizations = ("int8",)

    def check_installed(self) -> None:
        with quiet():
            for module in ("openvino", "nncf"):
                import_extra(module, "openvino", "the format openvino")

    def write(self, graphs: Sequence[Graph], folder: Path, quantize: str | None = None) -> Sequence[str]:
        for graph in graphs:
            with converting(graph, self.key):
                _convert(graph, folder / f"{graph.name}{ENDING}", quantize)
        return [f"{graph.name}{ending}" for graph in graphs for ending in (ENDING, ".bin")]

    def open(self, folder: Path) -> Mapping[str, Runner]:
        return {name: _runner(path) for name, path in files_of(folder, ENDING).items()}


def _convert(graph: Graph, path: Path, quantize: str | None) -> None:
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        save(concrete_function(graph), folder)
        model = openvino.convert_model(folder)
    for ports, names in ((model.inputs, graph.inputs), (model.outputs, graph.outputs)):
        for port in ports:
            port.get_tensor().set_names({original(port.any_name, names)})
    if quantize == "int8":
        import nncf

        model = nncf.compress_weights(model)
    openvino.save_model(model, path, compress_to_fp16=False)


def _runner(path: Path) -> Runner:
    import openvino

    model = openvino.Core().compile_model(path, "CPU", EXACT)
    dtypes = {port.any_name: port.element_type.to_dtype() for port in model.inputs}

    def run(x: Mapping[str, Array]) -> Mapping[str, Array]:
        found = model(as_typed(x, dtypes))
        return {port.any_name: found[port] for port in model.outputs}

    return run
