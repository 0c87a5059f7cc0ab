"""The format `litert` (TensorFlow Lite): `<graph>.tflite`, converted by TensorFlow and run by LiteRT."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.extras import import_extra
from ml4ir_losses.core.quiet import quiet
from ml4ir_losses.data.feeding import import_tensorflow
from ml4ir_losses.export.formats.base import ExportFormat, Runner
from ml4ir_losses.export.formats.conversion import as_typed, concrete_function, converting, files_of, original, save
from ml4ir_losses.export.graph import Graph

ENDING = ".tflite"


class LiteRT(ExportFormat):
    """TensorFlow Lite with dynamic sizes and built-in operations alone; int8 quantises the weights."""

    key = "litert"
    artifact = "score"
    extra = "litert"
    quantizations = ("int8",)

    def check_installed(self) -> None:
        with quiet():
            import_extra("ai_edge_litert", "litert", "the format litert")

    def write(self, graphs: Sequence[Graph], folder: Path, quantize: str | None = None) -> Sequence[str]:
        for graph in graphs:
            with converting(graph, self.key):
                (folder / f"{graph.name}{ENDING}").write_bytes(_converted(graph, quantize))
        return [f"{graph.name}{ENDING}" for graph in graphs]

    def open(self, folder: Path) -> Mapping[str, Runner]:
        return {name: _runner(path) for name, path in files_of(folder, ENDING).items()}


def _converted(graph: Graph, quantize: str | None) -> bytes:
    tf = import_tensorflow()
    from ai_edge_litert.tools import flatbuffer_utils

    with tempfile.TemporaryDirectory() as folder:
        save(concrete_function(graph), folder)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if quantize == "int8":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        model = flatbuffer_utils.convert_bytearray_to_object(converter.convert())
    signature = model.signatureDefs[0]
    for tensors, names in ((signature.inputs, graph.inputs), (signature.outputs, graph.outputs)):
        for tensor in tensors:
            tensor.name = original(tensor.name.decode(), names).encode()
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _runner(path: Path) -> Runner:
    from ai_edge_litert.interpreter import Interpreter

    with quiet():
        interpreter = Interpreter(str(path))
        interpreter.allocate_tensors()
        signature: Any = interpreter.get_signature_runner()
    dtypes = {name: detail["dtype"] for name, detail in signature.get_input_details().items()}

    def run(x: Mapping[str, Array]) -> Mapping[str, Array]:
        return dict(signature(**as_typed(x, dtypes)))

    return run
