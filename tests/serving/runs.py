"""Small runs on disk with inputs of every kind, their rows as requests."""

from pathlib import Path
from typing import Any

import numpy as np

import small_texts
from ml4ir_losses import train

WORDS = ["red", "blue", "green", "shoe", "hat", "coat", "wool", "silk"]
INPUTS = [
    {"name": "price", "type": "numeric", "transforms": ["standardise"], "missing_indicator": True},
    {"name": "stars", "type": "numeric", "query_rank": True, "missing": "query_min"},
    {"name": "age", "column": "published", "type": "date", "reference": "searched", "parts": ["age", "weekday"]},
    {"name": "hour", "column": "searched", "type": "date", "scope": "query", "parts": ["hour"]},
    {"name": "brand", "type": "categorical", "embedding_dim": 3, "oov_buckets": 2},
    {"name": "tags", "type": "categorical", "embedding_dim": 2, "pooling": "mean"},
    {"name": "places", "type": "categorical", "embedding_dim": 2, "pooling": "max", "separator": "|"},
    {"name": "both", "type": "cross", "columns": ["brand", "country"], "num_buckets": 7, "embedding_dim": 2},
    {"name": "country", "type": "categorical", "scope": "query", "encoding": "hash", "num_buckets": 5},
    {"name": "image", "type": "vector"},
    {"name": "title", "type": "text", "embedding_dim": 4, "max_length": 4, "ngrams": [3, 4], "num_buckets": 11},
]
OF_QUERY = ("searched", "country")


def queries(number: int, seed: int) -> list[dict[str, Any]]:
    """Queries as requests hold them, with missing cells."""
    rng = np.random.default_rng(seed)

    def maybe(cell: Any) -> Any:
        return None if rng.random() < 0.15 else cell

    def document() -> dict[str, Any]:
        return {
            "price": maybe(float(rng.normal())),
            "stars": maybe(float(rng.integers(1, 6)) / 2),
            "published": maybe(f"2025-0{rng.integers(1, 10)}-1{rng.integers(10)}T0{rng.integers(10)}:30:00"),
            "brand": maybe(f"b{rng.integers(6)}"),
            "tags": maybe(list(map(str, rng.choice(WORDS, rng.integers(1, 4))))),
            "places": maybe("|".join(rng.choice(WORDS, rng.integers(1, 4)))),
            "image": maybe([float(x) for x in rng.normal(size=3)]),
            "title": maybe(" ".join(rng.choice(WORDS, 3))),
        }

    return [
        {
            "query_id": f"q{q}",
            "query": {"searched": f"2025-10-1{q % 10}T1{rng.integers(10)}:00:00", "country": str(rng.choice(WORDS))},
            "documents": [{"id": f"d{d}", **document()} for d in range(int(rng.integers(3, 9)))],
        }
        for q in range(number)
    ]


def columns(requested: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """The rows of queries as data in memory."""
    rows = [
        {"query_id": q["query_id"], **q["query"], **{k: v for k, v in d.items() if k != "id"}}
        for q in requested
        for d in q["documents"]
    ]
    return {name: [row[name] for row in rows] for name in rows[0]}


def feature_run(folder: Path, inputs: Any = None, **model: Any) -> Path:
    """The run folder of a model of features, trained for an epoch."""
    data = {}
    for seed, split in enumerate(("train", "validation")):
        rows = columns(queries(24, seed))
        data[split] = {**rows, "label": [int((price or 0) > 0.5) for price in rows["price"]]}
    config = {
        "name": "shop",
        "data": {"batch_size": 8},
        "features": {"inputs": inputs or INPUTS},
        "model": {"architecture": {"key": "dnn", "hidden_units": [8]}, "loss": "softmax_cross_entropy", **model},
        "training": {"epochs": 1, "report": False},
    }
    return Path(train(config, folder / "run", data=data, progress=False).path)


def text_run(folder: Path, loss: str, architecture: str = "bi_encoder", more: Any = None) -> Path:
    """The run folder of a text model, trained for an epoch; `docs.csv` and `queries.csv` lie beside it."""
    small_texts.write_texts(folder)
    columns = small_texts.PAIR | (more or {})
    config = small_texts.config(folder, loss, columns, architecture=architecture, training={"epochs": 1})
    return Path(train(config, folder / "run", progress=False).path)
