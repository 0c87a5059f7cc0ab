"""The format `litert` (TensorFlow Lite): `<graph>.tflite`, converted by TensorFlow and run by LiteRT."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.quiet import quiet
from ml4ir_losses.data.feeding import import_tensorflow
from ml4ir_losses.export.formats.base import Runner
from ml4ir_losses.export.formats.conversion import ConvertedFormat, as_saved_model, as_typed, original
from ml4ir_losses.export.graph import Graph


class LiteRT(ConvertedFormat):
    """TensorFlow Lite with dynamic sizes and built-in operations alone; int8 quantises the weights."""

    key = extra = "litert"
    ending = ".tflite"
    modules = ("ai_edge_litert",)

    def convert(self, graph: Graph, path: Path, quantize: str | None) -> None:
        path.write_bytes(_converted(graph, quantize))

    def runner(self, path: Path) -> Runner:
        return _runner(path)


def _converted(graph: Graph, quantize: str | None) -> bytes:
    tf = import_tensorflow()
    from ai_edge_litert.tools import flatbuffer_utils

    with as_saved_model(graph) as folder:
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
