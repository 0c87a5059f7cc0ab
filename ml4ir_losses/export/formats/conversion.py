"""What the formats of other runtimes have in common: a graph traced once, converted in silence."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.extras import import_extra
from ml4ir_losses.core.quiet import quiet
from ml4ir_losses.data.feeding import import_tensorflow
from ml4ir_losses.export.formats.base import ExportFormat, Runner
from ml4ir_losses.export.graph import Graph
from ml4ir_losses.ops.backend import portable_operations

_NAMES_OPERATION = re.compile("error:|No Op registered|No conversion rule")
"""Marks the line of a converter's message that says what it cannot convert."""


class ConvertedFormat(ExportFormat):
    """A format of numbers and ids, which writes each graph as `<graph><ending>`.

    Attributes:
        ending: the ending of the file of a graph.
        beside: the endings of files that belong to it.
        modules: the packages that convert and run it.
    """

    artifact = "score"
    quantizations = ("int8",)
    ending: ClassVar[str]
    beside: ClassVar[Sequence[str]] = ()
    modules: ClassVar[Sequence[str]]

    def check_installed(self) -> None:
        with quiet():
            for module in self.modules:
                import_extra(module, str(self.extra), f"the format {self.key}")

    def write(self, graphs: Sequence[Graph], folder: Path, quantize: str | None = None) -> Sequence[str]:
        for graph in graphs:
            with _converting(graph, self.key):
                self.convert(graph, folder / f"{graph.name}{self.ending}", quantize)
        return [f"{graph.name}{ending}" for graph in graphs for ending in (self.ending, *self.beside)]

    def open(self, folder: Path) -> Mapping[str, Runner]:
        return {path.stem: self.runner(path) for path in sorted(folder.glob(f"*{self.ending}"))}

    def convert(self, graph: Graph, path: Path, quantize: str | None) -> None:
        """Writes a graph as a file."""
        raise NotImplementedError

    def runner(self, path: Path) -> Runner:
        """The graph of a file, run by the format's own runtime."""
        raise NotImplementedError


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


@contextmanager
def as_saved_model(graph: Graph) -> Iterator[str]:
    """A temporary folder with the concrete function of a graph as a SavedModel."""
    tf = import_tensorflow()
    function, module = concrete_function(graph), tf.Module()
    module.weights = function.variables
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures=function)
        yield folder


@contextmanager
def _converting(graph: Graph, key: str) -> Iterator[None]:
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


def as_typed(x: Mapping[str, Array], dtypes: Mapping[str, Any]) -> dict[str, Array]:
    """The inputs of these names as arrays of the given types."""
    return {name: np.ascontiguousarray(x[name], dtype) for name, dtype in dtypes.items()}
