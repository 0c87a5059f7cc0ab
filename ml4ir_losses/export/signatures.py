"""The signatures of the SavedModel of a ranking model: columns, and the serialized messages of TensorFlow Serving."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.data.feeding import import_tensorflow
from ml4ir_losses.export.features import column_types, input_names, serve_graphs
from ml4ir_losses.export.graph import Graph, TensorInfo
from ml4ir_losses.export.messages import MessageReader
from ml4ir_losses.model.relevance_model import RelevanceModel

DEFAULTS = ("columns", "predict", "regress")
"""What `serving_default` may take: columns, or what that of TF-Ranking takes, lists or single documents."""

PREDICT, REGRESS, SEQUENCES = "tensorflow/serving/predict", "tensorflow/serving/regress", "serving_tfrecord"
"""TF-Ranking's names of its signatures (`tf.saved_model.PREDICT_METHOD_NAME`, ...), and ml4ir's."""
DEFAULT, SCORE = "serving_default", "ranking_score"
_MESSAGES = TensorInfo((None,), "string")
_PADDING = float(np.finfo("float32").min)


def signatures(model: RelevanceModel, default: str = "columns") -> list[Graph]:
    """Signatures that take columns, then those of TF-Ranking and ml4ir.

    * `serving_default`: the columns, or what `default` names; `columns` where that is another one; `with_mask`.
    * `tensorflow/serving/predict`: `inputs` [B] of serialized `ExampleListWithContext` to `outputs` [B, N], the raw
      scores, the lowest number where a list has no document.
    * `tensorflow/serving/regress`: `inputs` [B] of serialized `tf.Example`, each a list of one document, to `outputs`
      [B], the raw scores.
    * `serving_tfrecord`: `protos` [B] of serialized `SequenceExample` to `ranking_score` [B, N], the activated scores.
    """
    columns, with_mask = serve_graphs(model)
    types = column_types(model.fitted)
    names, mask_name = input_names([*types]), [*with_mask.inputs][-1]
    reader = MessageReader(types)

    def outputs(columns: Mapping[str, Tensor], mask: Tensor) -> Any:
        return with_mask.function({**{names[column]: value for column, value in columns.items()}, mask_name: mask})

    def predict(x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        lists, mask = reader.example_lists(x["inputs"])
        return {"outputs": import_tensorflow().where(mask > 0, outputs(lists, mask)["logit"], _PADDING)}

    def regress(x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"outputs": outputs(*reader.examples(x["inputs"]))["logit"][:, 0]}

    def sequences(x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {SCORE: outputs(*reader.sequence_examples(x["protos"]))["score"]}

    def graph(name: str, function: Callable[..., Any], given: str, gives: str, rank: int) -> Graph:
        return Graph(name, function, {given: _MESSAGES}, {gives: TensorInfo((None,) * rank, "float32")}, model)

    messages = [
        graph(PREDICT, predict, "inputs", "outputs", 2),
        graph(REGRESS, regress, "inputs", "outputs", 1),
        graph(SEQUENCES, sequences, "protos", SCORE, 2),
    ]
    if default == "columns":
        return [columns, with_mask, *messages]
    chosen = messages[0] if default == "predict" else messages[1]
    return [replace(chosen, name=DEFAULT), replace(columns, name="columns"), with_mask, *messages]


def is_message(graph: Graph) -> bool:
    """True for a signature of serialized messages."""
    return [*graph.inputs.values()] == [_MESSAGES]
