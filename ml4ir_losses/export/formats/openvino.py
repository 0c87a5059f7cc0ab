"""The format `openvino`: `<graph>.xml` and `<graph>.bin`, converted and run by OpenVINO."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.export.formats.base import Runner
from ml4ir_losses.export.formats.conversion import ConvertedFormat, as_saved_model, as_typed, original
from ml4ir_losses.export.graph import Graph

EXACT = {"INFERENCE_PRECISION_HINT": "f32"}
"""The options of the runtime: its default precision changes scores by 1%."""


class OpenVINO(ConvertedFormat):
    """OpenVINO's format with dynamic sizes; int8 compresses the weights."""

    key = extra = "openvino"
    ending, beside = ".xml", (".bin",)
    modules = ("openvino", "nncf")

    def convert(self, graph: Graph, path: Path, quantize: str | None) -> None:
        import openvino

        with as_saved_model(graph) as folder:
            model = openvino.convert_model(folder)
        for ports, names in ((model.inputs, graph.inputs), (model.outputs, graph.outputs)):
            for port in ports:
                port.get_tensor().set_names({original(port.any_name, names)})
        if quantize == "int8":
            import nncf

            model = nncf.compress_weights(model)
        openvino.save_model(model, path, compress_to_fp16=False)

    def runner(self, path: Path) -> Runner:
        import openvino

        model = openvino.Core().compile_model(path, "CPU", EXACT)
        dtypes = {port.any_name: port.element_type.to_dtype() for port in model.inputs}

        def run(x: Mapping[str, Array]) -> Mapping[str, Array]:
            found = model(as_typed(x, dtypes))
            return {port.any_name: found[port] for port in model.outputs}

        return run
