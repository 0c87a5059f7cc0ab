"""The graphs of models that read texts: token ids for the formats of other runtimes, strings for a SavedModel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from keras import ops

from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.data.feeding import import_tensorflow
from ml4ir_losses.evaluation.encoding import DOCUMENT, QUERY
from ml4ir_losses.export.graph import Graph, TensorInfo, traced
from ml4ir_losses.model.cross_encoder import TextCrossEncoder
from ml4ir_losses.model.embedding_model import EmbeddingModel
from ml4ir_losses.text.hub_tokenizer import HubTokenizer
from ml4ir_losses.text.tokenizers import PairTokenizer

_IDS, _TEXTS = TensorInfo((None, None), "int32"), TensorInfo((None,), "string")


def embedding_graphs(model: EmbeddingModel) -> list[Graph]:
    """Token ids [B, T], padded with 0, to embeddings [B, D].

    The graphs `query` and `document`; one graph `text` where both have the same encoder. A pair classifier has the
    graph `pair` too: the ids of two texts to the probability of each class, [B, K].
    """
    sides = {"text": QUERY} if len(model.encoders) == 1 else {"query": QUERY, "document": DOCUMENT}
    graphs = [
        Graph(name, _embed(model, column), {"ids": _IDS}, _embedding(model), model) for name, column in sides.items()
    ]
    if has_classes(model):
        inputs = {f"{column}_ids": _IDS for column in (QUERY, DOCUMENT)}
        graphs.append(Graph("pair", _classify(model, "_ids"), inputs, _classes(model), model))
    return graphs


def embedding_signatures(model: EmbeddingModel) -> list[Graph]:
    """Texts [B] to embeddings [B, D]: `embed_query`, which is `serving_default` too, and `embed_document`.

    A pair classifier has the signature `classify` too: two texts to the probability of each class, [B, K].
    """
    query = _signature(model, "embed_query", _embed(model, QUERY), {"texts": "ids"}, _embedding(model))
    document = replace(query, name="embed_document")
    if len(model.encoders) != 1:
        document = _signature(model, document.name, _embed(model, DOCUMENT), {"texts": "ids"}, _embedding(model))
    graphs = [replace(query, name="serving_default"), query, document]
    if has_classes(model):
        names = {QUERY: QUERY, DOCUMENT: DOCUMENT}
        graphs.append(_signature(model, "classify", _classify(model, ""), names, _classes(model)))
    return graphs


def pair_graph(model: TextCrossEncoder) -> Graph:
    """Token ids [B, T] of query and document in one sequence, padded with 0, to `logit` and `score` [B].

    A softmax needs the other documents of a query: a model whose final activation is one has no `score`. A classifier
    also gives the `probability` of each class, [B, K].
    """
    loss = model.relevance_loss
    names: dict[str, tuple[int | None, ...]] = {"logit": (None,)}
    if loss.activation != "softmax":
        names["score"] = (None,)
    if loss.predicts_classes:
        names["probability"] = (None, loss.outputs)

    def score(x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        logits = model.scorer(x["ids"], training=False)
        found = model.outputs_of(logits[:, None], None)
        found = {name: value[:, 0] for name, value in found.items()}
        if loss.predicts_classes:
            found["probability"] = ops.softmax(found["outputs"], axis=-1)
        return {name: found[name] for name in names}

    outputs = {name: TensorInfo(shape, "float32") for name, shape in names.items()}
    return Graph("pair", score, {"ids": _IDS}, outputs, model)


def has_subwords(model: Any) -> bool:
    """True for a model with the tokenizer of a KerasHub preset, whose operations are not TensorFlow's own."""
    tokenizer = getattr(model, "tokenizer", None)
    return isinstance(tokenizer.tokenizer if isinstance(tokenizer, PairTokenizer) else tokenizer, HubTokenizer)


def has_classes(model: EmbeddingModel) -> bool:
    """True for a pair classifier."""
    return any(loss.head == "pair" for loss in model.relevance_losses.values())


def _embedding(model: EmbeddingModel) -> dict[str, TensorInfo]:
    return {"embedding": TensorInfo((None, model.towers.output_width), "float32")}


def _classes(model: EmbeddingModel) -> dict[str, TensorInfo]:
    head = next(model.heads[name] for name, loss in model.relevance_losses.items() if loss.head == "pair")
    return {"probability": TensorInfo((None, head.num_labels), "float32")}


def _embed(model: EmbeddingModel, column: str) -> Callable[[Mapping[str, Tensor]], dict[str, Tensor]]:
    def embed(x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"embedding": ops.cast(model.embed_ids(x["ids"], column), "float32")}

    return embed


def _classify(model: EmbeddingModel, ending: str) -> Callable[[Mapping[str, Tensor]], dict[str, Tensor]]:
    def classify(x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        output = model({column: x[f"{column}{ending}"] for column in (QUERY, DOCUMENT)}, training=False)
        return {"probability": output["score"]}

    return classify


def _signature(
    model: EmbeddingModel,
    name: str,
    function: Callable[..., Any],
    names: Mapping[str, str],
    outputs: Mapping[str, TensorInfo],
) -> Graph:
    """The function of token ids as one of texts; `names`: the input of ids for each input of texts."""

    def of_texts(x: Mapping[str, Tensor]) -> Any:
        return function({ids: token_ids(model.tokenizer, x[texts]) for texts, ids in names.items()})

    return traced(Graph(name, of_texts, dict.fromkeys(names, _TEXTS), outputs, model))


def token_ids(tokenizer: Any, texts: Tensor) -> Tensor:
    """Ids [B, T] of texts [B], of at least one place, which is padding where no text has a word."""
    tf = import_tensorflow()
    ids = tf.cast(tokenizer(texts), tf.int32)
    return tf.pad(ids, [[0, 0], [0, tf.cast(tf.equal(tf.shape(ids)[1], 0), tf.int32)]])
