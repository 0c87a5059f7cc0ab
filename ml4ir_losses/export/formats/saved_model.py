"""TensorFlow's SavedModel: the whole model, strings included, as signatures by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.export.formats.base import ExportFormat, Runner
from ml4ir_losses.export.graph import Graph
from ml4ir_losses.export.precision import quantized_copy


class SavedModel(ExportFormat):
    """A folder that TensorFlow and TensorFlow Serving load without this package; a signature for each graph.

    int8 quantises a copy of the model in Keras.
    """

    key = "saved_model"
    artifact = "serve"
    quantizations = ("int8",)
    serving_default: str | None = "columns"

    def quantized(self, model: Any, quantize: str) -> Any:
        return quantized_copy(model, quantize)

    def write(self, graphs: Sequence[Graph], folder: Path, quantize: str | None = None) -> Sequence[str]:
        """Writes `saved_model.pb`, `variables` and their like into the folder."""
        import tensorflow as tf

        archive = keras.export.ExportArchive()
        for owner in {id(graph.owner): graph.owner for graph in graphs}.values():
            archive.track(owner)
        for graph in graphs:
            inputs = {name: tf.TensorSpec(info.shape, info.dtype, name) for name, info in graph.inputs.items()}
            archive.add_endpoint(graph.name, graph.function, [inputs])
        archive.write_out(folder, verbose=False)
        return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())

    def open(self, folder: Path) -> Mapping[str, Runner]:
        """The signatures by name."""
        import tensorflow as tf

        loaded = tf.saved_model.load(str(folder))
        return {name: _runner(loaded, signature) for name, signature in loaded.signatures.items()}


def _runner(loaded: Any, signature: Any) -> Runner:
    import tensorflow as tf

    types = {name: spec.dtype for name, spec in signature.structured_input_signature[1].items()}

    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        loaded  # noqa: B018  the signature does not keep the variables alive
        outputs = signature(**{name: tf.constant(value, types[name]) for name, value in inputs.items()})
        return {name: np.asarray(value) for name, value in outputs.items()}

    return run
