"""The graphs of a model, and the batches on which they are compared with Keras."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.data.nested import unnest_chunks
from ml4ir_losses.data.readers import read_chunks
from ml4ir_losses.data.table import Table
from ml4ir_losses.export import features, text_samples, texts
from ml4ir_losses.export.formats.base import ExportFormat
from ml4ir_losses.export.graph import Graph
from ml4ir_losses.export.message_samples import message_cases
from ml4ir_losses.export.samples import Case, first_rows, list_cases, made_up_rows
from ml4ir_losses.export.signatures import is_message, signatures
from ml4ir_losses.features.fitting import list_columns
from ml4ir_losses.model.cross_encoder import TextCrossEncoder
from ml4ir_losses.model.embedding_model import EmbeddingModel
from ml4ir_losses.model.relevance_model import RelevanceModel


def graphs_of(model: Any, target: ExportFormat) -> list[Graph]:
    """The graphs of a model that a format is given.

    Raises:
        UserError: for a model that the format does not take.
    """
    if target.artifact == "serve" and texts.has_subwords(model) and importlib.util.find_spec("tensorflow_text") is None:
        raise UserError(
            f"{target.key}: the tokenizer of a KerasHub preset needs tensorflow-text inside a graph (pip install "
            "tensorflow-text); onnx, litert and openvino take its token ids."
        )
    if isinstance(model, EmbeddingModel) and target.serving_default not in (None, "columns"):
        raise UserError(f"`serving_default` of a model of texts takes texts. Received: {target.serving_default!r}.")
    if isinstance(model, EmbeddingModel) and target.gives is None:
        return texts.embedding_signatures(model) if target.artifact == "serve" else texts.embedding_graphs(model)
    if not isinstance(model, RelevanceModel):
        raise UserError(f"{target.key}: takes a ranking model of this package. Received: {type(model).__name__}.")
    if target.artifact == "serve":
        default = target.serving_default
        return features.serve_graphs(model) if default is None else signatures(model, default)
    return [texts.pair_graph(model) if isinstance(model, TextCrossEncoder) else features.score_graph(model)]


def facts_of(model: Any, target: ExportFormat) -> dict[str, Any]:
    """What `export.json` says about the model.

    `requires`: packages whose operations must be loaded; `classes`: the names of the classes, as far as they have some;
    `dims`: the numbers of leading dimensions on which an embedding was trained to be used alone.
    """
    facts: dict[str, Any] = {"requires": []}
    if target.artifact == "serve" and texts.has_subwords(model):
        facts["requires"] = ["tensorflow-text"]
    if isinstance(model, TextCrossEncoder) and model.relevance_loss.predicts_classes:
        facts["classes"] = list(model.classes)
    if isinstance(model, EmbeddingModel):
        losses = model.relevance_losses
        if texts.has_classes(model):
            facts["classes"] = next(model.tasks[name].classes for name, loss in losses.items() if loss.head == "pair")
        if dims := {size for loss in losses.values() for size in loss.params.get("dims", ())}:
            facts["dims"] = sorted(dims)
    return facts


def cases_of(model: Any, target: ExportFormat, graphs: Sequence[Graph], rows: Table) -> Iterator[Case]:
    """Batches of the rows for the graphs, with the outputs of Keras."""
    if isinstance(model, EmbeddingModel):
        return text_samples.embedding_cases(model, graphs, rows)
    if isinstance(model, TextCrossEncoder) and target.artifact == "score":
        return text_samples.pair_cases(model, graphs[0], rows)
    messages = [graph for graph in graphs if is_message(graph)]
    columns = [graph for graph in graphs if not is_message(graph)]
    return chain(list_cases(model, target.artifact, columns, rows), message_cases(model, messages, rows))


def sample_rows(model: Any, data: Any = None) -> Table:
    """The rows on which an export is compared with Keras."""
    reads_texts = isinstance(model, EmbeddingModel)
    if data is None:
        return text_samples.made_up_texts_of(model) if reads_texts else made_up_rows(model.fitted)
    if isinstance(data, Table):
        return data
    columns = () if reads_texts else (list_columns(model.fitted, model.query_id),)
    return first_rows(unnest_chunks(read_chunks(data), *columns))
