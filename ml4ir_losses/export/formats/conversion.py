"""What the formats of other runtimes have in common: a graph traced once, converted in silence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.quiet import quiet
from ml4ir_losses.data.feeding import import_tensorflow
from ml4ir_losses.export.graph import Graph
from ml4ir_losses.ops.backend import portable_operations

_NAMES_OPERATION = re.compile("error:|No Op registered|No conversion rule")
"""Marks the line of a converter's message that says what it cannot convert."""


def concrete_function(graph: Graph) -> Any:
    """The concrete function of a graph, for converters that do not take every name.

    Its inputs are called `input_0`, ... in the graph's order, its outputs `output_0`, ...: see `original`.
    """
    tf = import_tensorflow()
    specs = [tf.TensorSpec(i.shape, i.dtype, name=f"input_{n}") for n, i in enumerate(graph.inputs.values())]

    def function(*inputs: Any) -> dict[str, Any]:
        with portable_operations():
            outputs = graph.function(dict(zip(graph.inputs, inputs, strict=True)))
        return {f"output_{n:02}": outputs[name] for n, name in enumerate(graph.outputs)}

    return tf.function(function, autograph=False).get_concrete_function(*specs)


def original(name: str, names: Iterable[str]) -> str:
    """The name in a graph of an input or output that `concrete_function` has renamed."""
    return list(names)[int(name.rpartition("_")[2])]


def save(function: Any, folder: str) -> None:
    """Writes a concrete function as a SavedModel."""
    tf = import_tensorflow()
    module = tf.Module()
    module.weights = function.variables
    tf.saved_model.save(module, folder, signatures=function)


@contextmanager
def converting(graph: Graph, key: str) -> Iterator[None]:
    """Inside, converters print nothing; what they raise becomes a `UserError`.

    Raises:
        UserError: with the graph, the reason in one line, and what to use instead.
    """
    try:
        with quiet():
            yield
    except UserError:
        raise
    except Exception as error:  # converters raise exceptions of any class for what they cannot hold
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = next((line for line in lines if _NAMES_OPERATION.search(line)), (lines or [type(error).__name__])[0])
        raise UserError(
            f"{key} cannot hold the graph {graph.name!r} ({reason[:300]}): use the format saved_model, which holds all "
            "models."
        ) from error


def files_of(folder: Path, ending: str) -> dict[str, Path]:
    """The files of a folder with this ending by the name of their graph."""
    return {path.stem: path for path in sorted(folder.glob(f"*{ending}"))}


def as_typed(x: Mapping[str, Array], dtypes: Mapping[str, Any]) -> dict[str, Array]:
    """The inputs of these names as arrays of the given types."""
    return {name: np.ascontiguousarray(x[name], dtype) for name, dtype in dtypes.items()}
