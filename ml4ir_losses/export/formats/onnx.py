"""The format `onnx`: `<graph>.onnx`, converted by tf2onnx and run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.export.formats.base import Runner
from ml4ir_losses.export.formats.conversion import ConvertedFormat, as_typed, concrete_function
from ml4ir_losses.export.graph import Graph

OPSET = 18


class Onnx(ConvertedFormat):
    """ONNX with dynamic sizes; int8 by ONNX Runtime's dynamic quantisation of weights and activations."""

    key = extra = "onnx"
    ending = ".onnx"
    modules = ("onnx", "tf2onnx", "onnxruntime")

    def convert(self, graph: Graph, path: Path, quantize: str | None) -> None:
        _convert(graph, path)
        if quantize == "int8":
            _quantize(path)

    def runner(self, path: Path) -> Runner:
        return _runner(path)


def _convert(graph: Graph, path: Path) -> None:
    import onnx
    import tf2onnx
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    function = convert_variables_to_constants_v2(concrete_function(graph), lower_control_flow=False)
    inputs, outputs = ([tensor.name for tensor in tensors] for tensors in (function.inputs, function.outputs))
    names = dict(zip([*inputs, *outputs], [*graph.inputs, *graph.outputs], strict=True))
    model, _ = tf2onnx.convert.from_graph_def(
        function.graph.as_graph_def(),
        name=graph.name,
        input_names=inputs,
        output_names=outputs,
        opset=OPSET,
        custom_op_handlers={"Log1p": (_log1p, []), "Erfc": (_erfc, []), "SelectV2": (_where, [])},
        tensors_to_rename=names,
    )
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def _log1p(context: Any, node: Any, name: str, arguments: Any) -> None:
    """ln(1 + x), which ONNX has no operation for."""
    total = context.make_node("Add", [node.input[0], _one(context, name)])
    _replace(context, node, "Log", [total.output[0]])


def _erfc(context: Any, node: Any, name: str, arguments: Any) -> None:
    """1 - erf(x), of the activation gelu."""
    erf = context.make_node("Erf", [node.input[0]])
    _replace(context, node, "Sub", [_one(context, name), erf.output[0]])


def _one(context: Any, name: str) -> str:
    """A constant 1."""
    return str(context.make_const(f"{name}_one", np.ones((), "float32")).output[0])


def _replace(context: Any, node: Any, operation: str, inputs: list[str]) -> None:
    """Puts another operation in the place of a node."""
    same: dict[str, Any] = {"outputs": node.output, "shapes": node.output_shapes, "dtypes": node.output_dtypes}
    context.remove_node(node.name)
    context.make_node(operation, inputs, name=node.name, **same)


def _where(context: Any, node: Any, name: str, arguments: Any) -> None:
    """A choice as a choice: tf2onnx makes it a sum of products, which NaN in what is not chosen turns into NaN."""
    node.type = "Where"


def _quantize(path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(path, path, weight_type=QuantType.QInt8)


def _runner(path: Path) -> Runner:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    types = {"tensor(float)": "float32", "tensor(int32)": "int32"}
    dtypes = {value.name: types[value.type] for value in session.get_inputs()}
    outputs = [value.name for value in session.get_outputs()]

    def run(x: Mapping[str, Array]) -> Mapping[str, Array]:
        return dict(zip(outputs, session.run(outputs, as_typed(x, dtypes)), strict=True))

    return run
