"""What an export consists of: functions of named tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.data.feeding import import_tensorflow

Artifact = Literal["serve", "score"]
"""`serve` takes raw columns, strings included; `score` the numbers and ids that `preprocessing.json` describes."""


@dataclass(frozen=True)
class TensorInfo:
    """The shape and type of an input or output; None is a size that may differ from call to call.

    Attributes:
        shape: such as (None, None) for [B, N].
        dtype: `float32`, `int32`, `string`, ...
        column: the column of the data that the input holds, where its name is another one.
    """

    shape: tuple[int | None, ...]
    dtype: str
    column: str | None = None


@dataclass(frozen=True)
class Graph:
    """A part of a model that is converted as one.

    Attributes:
        name: `model`; `query` and `document` for the towers of a bi-encoder; of a SavedModel that of the signature.
        function: maps a dict of tensors to a dict of tensors.
        inputs: the inputs by name, in the order in which formats without names give them.
        outputs: the outputs by name.
        owner: the Keras model or layer that holds the weights.
    """

    name: str
    function: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]
    owner: Any


def traced(graph: Graph) -> Graph:
    """The graph with its function traced by TensorFlow, once for all signatures of a SavedModel that call it."""
    tf = import_tensorflow()
    inputs = {name: tf.TensorSpec(info.shape, info.dtype) for name, info in graph.inputs.items()}
    return replace(graph, function=tf.function(graph.function, input_signature=[inputs], autograph=False))
