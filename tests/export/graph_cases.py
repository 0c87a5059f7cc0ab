"""Graphs of every architecture, encoder, kind of input, transform and final activation, with inputs of any size."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from ml4ir_losses.core.registry import ENCODERS
from ml4ir_losses.data.readers import read_table
from ml4ir_losses.export.features import score_graph
from ml4ir_losses.export.graph import Graph, TensorInfo
from ml4ir_losses.features.fitting import encode_rows
from ml4ir_losses.model.hub import HubEncoder
from ml4ir_losses.model.relevance_model import RelevanceModel

ROWS, QUERIES, VOCABULARY = 80, 10, 12
Batch = Mapping[str, Any]
DNN = {"key": "dnn", "hidden_units": [6]}
FEW = [
    {"name": "price", "type": "numeric", "transforms": ["standardise"], "missing_indicator": True, "query_rank": True},
    {"name": "brand", "type": "categorical", "embedding_dim": 3},
    {"name": "season", "type": "categorical", "scope": "query", "embedding_dim": 2},
]


def numeric(name: str, *transforms: Any, **options: Any) -> dict[str, Any]:
    return {"name": name, "type": "numeric", "column": "price", "transforms": list(transforms), **options}


INPUTS = {
    "numbers": [
        {"name": "all f's", "type": "numeric", "column": "f*", "missing_indicator": True},
        numeric("single", missing="mean"),
    ],
    "pointwise": [
        numeric("größe, 'a b'/c:0", "log1p"),
        numeric("class", "arctan"),
        numeric("c", "reciprocal"),
        numeric("d", {"key": "clip", "min": -1.0, "max": 2.0}),
        numeric("e", {"key": "clip", "min": 0.0}, "robust"),
    ],
    "quantiles": [
        numeric("a", {"key": "quantile", "quantiles": 7}),
        numeric("b", {"key": "quantile", "quantiles": 9, "output": "normal"}),
        numeric("c", {"key": "bucketise", "buckets": 4}),
        numeric("d", {"key": "bucketise", "boundaries": [-1.0, 0.0, 2.0], "output": "ordinal"}),
    ],
    "within_query": [
        numeric("a", "query_z_score", missing="query_min"),
        numeric("b", "standardise", "query_min_max"),
        numeric("c", "query_rank", query_rank=True),
    ],
    "dates": [
        {"name": "day", "type": "date", "parts": ["age", "hour", "weekday", "month", "day_of_year"]},
        {"name": "since", "type": "date", "column": "day", "reference": "now", "transforms": ["log1p", "standardise"]},
        {"name": "fixed", "type": "date", "column": "day", "reference": "2024-02-29", "query_rank": True},
    ],
    "categories": [
        {"name": "brand", "type": "categorical", "embedding_dim": 3, "oov_buckets": 2},
        {"name": "hashed", "type": "categorical", "column": "brand", "encoding": "hash", "num_buckets": 5},
        {"name": "viewed", "type": "categorical", "share_embedding": "brand", "pooling": "mean"},
        {"name": "tags", "type": "categorical", "separator": "|", "pooling": "max", "embedding_dim": 2},
        {
            "name": "liked",
            "type": "categorical",
            "column": "tags",
            "separator": "|",
            "pooling": "sum",
            "empty": "missing",
        },
        {"name": "cross", "type": "cross", "columns": ["brand", "season"], "num_buckets": 8, "embedding_dim": 2},
        {"name": "season", "type": "categorical", "scope": "query", "embedding_dim": 2},
    ],
    "texts": [
        {"name": "title", "type": "text", "embedding_dim": 4, "max_length": 3},
        {"name": "grams", "type": "text", "column": "title", "ngrams": [3, 4], "num_buckets": 10, "embedding_dim": 2},
        {"name": "image", "type": "vector", "normalise": True},
        {"name": "plain", "type": "vector", "column": "image", "scope": "query"},
    ],
}
PAIR = {"name": "pair", "type": "text_pair", "query": "season", "document": ["title", "brand"], "max_length": 9}
SIZES = {"num_layers": 2, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 6, "max_sequence_length": 16}
ARCHITECTURES = {
    "linear": "linear",
    "dnn": {"key": "dnn", "hidden_units": [6, 5], "activation": "gelu", "layer_norm": True, "dropout": 0.1},
    "deep_cross": {"key": "deep_cross", "hidden_units": [6], "rank": 3},
    "deep_cross-stacked": {"key": "deep_cross", "hidden_units": [6], "structure": "stacked"},
    "gam": {"key": "gam", "hidden_units": [4], "query_hidden_units": [4]},
    "set_transformer": {"key": "set_transformer", "hidden_units": [6], "attention_dim": 8, "noise": 0.1},
    "set_transformer-concatenated": {
        "key": "set_transformer",
        "hidden_units": [6],
        "attention_dim": 8,
        "latent_cross": False,
        "log1p": False,
    },
}
LOSSES = {
    "sigmoid": "sigmoid_cross_entropy",
    "identity": "approx_ndcg",
    "sum_of_sigmoids": {"key": "ordinal", "ordinal_size": 3},
    "sigmoid_of_relevance": "click_em",
    "mean_of_sigmoids": {"key": "mixture_em", "alpha": 0.5},
    "classes": "categorical_cross_entropy",
}
TRANSFORMER = {"key": "transformer", "embedding_dim": 8, "num_layers": 2, "num_heads": 2, "max_length": 16}
TEXT_ENCODERS = {
    "bag_of_words": {"key": "bag_of_words", "embedding_dim": 6, "output_dim": 4},
    "bag_of_words-mean-log": {
        "key": "bag_of_words",
        "embedding_dim": 6,
        "pooling": "mean",
        "term_frequency": "log",
    },
    "bag_of_words-max": {"key": "bag_of_words", "embedding_dim": 6, "pooling": "max"},
    "cnn": {"key": "cnn", "embedding_dim": 6, "filters": [5, 7]},
    "cnn-mean": {"key": "cnn", "embedding_dim": 6, "filters": [5], "kernel_size": 4, "pooling": "mean"},
    "gru": {"key": "gru", "embedding_dim": 6, "units": 4},
    "gru-max": {"key": "gru", "embedding_dim": 6, "units": 4, "bidirectional": False, "pooling": "max"},
    "transformer": TRANSFORMER,
    "transformer-cls": {**TRANSFORMER, "pooling": "cls", "output_dim": 4},
    "splade": {"key": "splade", "encoder": TRANSFORMER},
    "splade-sum": {"key": "splade", "encoder": TRANSFORMER, "pooling": "sum", "activation": "log1p_relu"},
    "csr": {"key": "csr", "encoder": TRANSFORMER, "k": 3, "normalize": True},
}


@dataclass(frozen=True)
class GraphCase:
    """A graph, batches of it of any size, and what Keras gives for them."""

    graph: Graph
    batch: Callable[[int, int], Batch]
    keras: Callable[[Batch], Mapping[str, Any]]

    def difference(self, outputs: Batch, x: Batch) -> float:
        """The largest difference from Keras, relative to values above 1; NaN for wrong ranks or shapes."""
        valid = x["mask"] > 0 if "mask" in x else ...
        found = {name: np.asarray(value) for name, value in outputs.items()}
        largest = 0.0
        for name, expected in self.keras(x).items():
            values, expected = found.pop(name), np.asarray(expected)
            if values.shape != expected.shape or values.dtype != expected.dtype:
                return float("nan")
            difference = np.abs(values - expected) / np.maximum(np.abs(expected), 1.0)
            largest = float(np.maximum(largest, difference[valid if name == "logit" else ...].max()))
        if "rank" in found:
            found_logits = np.asarray(outputs["logit"], "float64")
            logits, rank = np.where(valid, -found_logits, np.inf), found.pop("rank")
            places = np.argsort(np.argsort(logits, axis=1, kind="stable"), axis=1, kind="stable") + 1
            if rank.dtype != "int32" or (rank != np.where(valid, places, 0)).any():
                return float("nan")
        return float("nan") if found else largest


def rows(seed: int = 0) -> dict[str, Any]:
    """Rows of queries with missing cells of every kind."""
    rng = np.random.default_rng(seed)
    query = np.sort(rng.integers(0, QUERIES, ROWS))

    def holes(values: Any, nothing: Any) -> list[Any]:
        return [nothing if hole else value for value, hole in zip(values, rng.random(ROWS) < 0.15, strict=True)]

    words = ["red", "blue", "shoe", "hat", "wool coat", "café"]
    days = rng.integers(-40_000, 40_000, ROWS) * 86_400.0 + rng.integers(0, 86_400, ROWS)
    return {
        "query_id": [f"q{q}" for q in query],
        "label": rng.integers(0, 3, ROWS).astype(float),
        "price": holes(rng.normal(size=ROWS).round(1) * 3, np.nan),
        **{f"f{n}": holes(rng.integers(0, 4, ROWS).astype(float), np.nan) for n in range(3)},
        "day": holes(days, np.nan),
        "now": days + rng.integers(0, 10**7, ROWS),
        "brand": holes(rng.choice(list("abcde"), ROWS), ""),
        "season": [["cold", "warm", ""][q % 3] for q in query],
        "viewed": [list(rng.choice(list("abx"), rng.integers(0, 3))) for _ in range(ROWS)],
        "tags": ["|".join(rng.choice(list("xyz"), rng.integers(0, 3))) for _ in range(ROWS)],
        "title": holes([" ".join(rng.choice(words, 2)) for _ in range(ROWS)], ""),
        "image": holes(list(rng.normal(size=(ROWS, 3))), None),
    }


def feature_case(
    inputs: Sequence[Any] = FEW,
    architecture: Any = DNN,
    loss: Any = "softmax_cross_entropy",
    precision: str = "float32",
) -> GraphCase:
    """The `score` graph of a ranking model."""
    sections = {
        "data": {"batch_size": 4},
        "features": {"inputs": list(inputs)},
        "model": {"architecture": architecture, "loss": loss},
        "training": {"precision": precision},
    }
    model = RelevanceModel.from_config(sections, data={"train": rows()})
    shake(model)
    arrays = encode_rows(model.fitted, read_table(rows(1)))
    scopes = {fitted.name: fitted.scope for fitted in model.fitted}

    def batch(queries: int, documents: int) -> Batch:
        """Lists of real rows of any length; padding is empty or NaN."""
        rng = np.random.default_rng(documents)
        sizes = rng.integers(1, documents + 1, queries)
        sizes[:1] = documents
        mask = np.arange(documents) < sizes[:, None]
        x = {"mask": mask.astype("float32")}
        index = rng.integers(0, ROWS, (queries, documents))
        for fitted in model.fitted:
            values = arrays.arrays[fitted.name]
            if scopes[fitted.name] == "query":
                x[fitted.name] = values[index[:, 0]]
                continue
            x[fitted.name] = values[index]
            nothing = 0 if fitted.type == "text_pair" else fitted.empty(())
            x[fitted.name][~mask] = np.nan if fitted.numbers else nothing
        return x

    def scores(x: Batch) -> Batch:
        outputs = model(x, training=False)
        if "probability" in graph.outputs:
            outputs["probability"] = keras.ops.softmax(outputs["outputs"], axis=-1)
        return {name: outputs[name] for name in graph.outputs if name != "rank"}

    graph = score_graph(model)
    return GraphCase(graph, batch, scores)


def text_case(spec: Any) -> GraphCase:
    """The graph of an encoder of token ids."""
    keras.utils.set_random_seed(1)
    encoder = spec
    if not isinstance(spec, HubEncoder):
        encoder = ENCODERS.create(spec, hidden={"vocabulary_size": VOCABULARY})
        encoder.build((None, None))
    shake(encoder)

    def embed(x: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"embedding": encoder(keras.ops.convert_to_tensor(x["ids"]), training=False)}

    def batch(texts: int, tokens: int) -> Batch:
        """Token ids with padding; one text has no tokens."""
        rng = np.random.default_rng(tokens)
        sizes = rng.integers(1, tokens + 1, texts)
        sizes[-1:] = 0 if texts > 1 else tokens
        ids = rng.integers(1, VOCABULARY, (texts, tokens))
        return {"ids": np.where(np.arange(tokens) < sizes[:, None], ids, 0).astype("int32")}

    inputs, outputs = {"ids": TensorInfo((None, None), "int32")}, {"embedding": TensorInfo((None, None), "float32")}
    return GraphCase(Graph("query", embed, inputs, outputs, encoder), batch, embed)


def cross_encoder_case(encoder: Any, inputs: Sequence[Any] = (PAIR, *FEW)) -> GraphCase:
    """The `score` graph of a cross-encoder, whose batches hold a text pair for each document."""
    return feature_case(inputs, {"key": "cross_encoder", "encoder": encoder, "hidden_units": [5]})


def preset_case() -> GraphCase:
    """The graph of a KerasHub backbone."""
    import keras_hub

    return text_case(HubEncoder(keras_hub.models.BertBackbone(vocabulary_size=VOCABULARY, **SIZES), max_length=16))


def shake(owner: Any) -> None:
    """Random weights: zeros and ones would hide what is not used."""
    for place, weight in enumerate(owner.trainable_variables):
        weight.assign(np.random.default_rng(place).normal(size=weight.shape) * 0.5)


CASES: dict[str, Callable[[], GraphCase]] = {
    **{name: lambda spec=spec: feature_case(architecture=spec) for name, spec in ARCHITECTURES.items()},
    **{name: lambda inputs=inputs: feature_case(inputs) for name, inputs in INPUTS.items() if inputs},
    **{name: lambda loss=loss: feature_case(loss=loss) for name, loss in LOSSES.items()},
    **{name: lambda spec=spec: text_case(spec) for name, spec in TEXT_ENCODERS.items()},
    "keras_hub": preset_case,
    "cross_encoder": lambda: cross_encoder_case({"key": "bag_of_words", "embedding_dim": 6}, [PAIR]),
    "cross_encoder-features": lambda: cross_encoder_case(TRANSFORMER),
}
