"""A small ranking model that reads every kind of input, and the data that it is fitted on."""

import numpy as np
import pyarrow as pa

from ml4ir_losses.model.relevance_model import RelevanceModel

ROWS, QUERIES = 60, 12
STANDARDISED = {"transforms": ["standardise"], "missing_indicator": True, "query_rank": True, "missing": "query_min"}
INPUTS = [
    {"name": "brand", "type": "categorical", "embedding_dim": 3, "oov_buckets": 2},
    {"name": "viewed", "type": "categorical", "share_embedding": "brand", "pooling": "mean"},
    {"name": "tags", "type": "categorical", "separator": "|", "pooling": "max", "embedding_dim": 2},
    {"name": "brand_device", "type": "cross", "columns": ["brand", "device"], "num_buckets": 8, "embedding_dim": 2},
    {"name": "image", "type": "vector", "normalise": True},
    {"name": "title", "type": "text", "ngrams": [3, 3], "num_buckets": 10, "embedding_dim": 2},
    {"name": "interests", "type": "categorical", "pooling": "sum", "scope": "query", "embedding_dim": 2},
    {"name": "price (USD)", "type": "numeric", **STANDARDISED},
    {"name": "class", "type": "numeric", "transforms": ["query_z_score", "log1p", "arctan"]},
    {"name": "sold", "type": "numeric", "transforms": [{"key": "quantile", "output": "normal"}]},
    {"name": "stock", "type": "numeric", "transforms": [{"key": "bucketise", "buckets": 3}]},
    {"name": "code", "type": "categorical", "embedding_dim": 2},
    {"name": "code_number", "type": "numeric", "column": "code"},
    {"name": "length", "type": "numeric", "scope": "query"},
    {
        "name": "published",
        "type": "date",
        "parts": ["age", "hour", "weekday", "month", "day_of_year"],
        "reference": "now",
    },
    {"name": "masked", "type": "numeric", "column": "mask"},
]
"""Among them columns whose names TensorFlow does not allow, one that is read as text and as a number, and one that is
called as the model's mask."""


def rows(seed=0, brands="abc"):
    rng = np.random.default_rng(seed)
    query = np.sort(rng.integers(0, QUERIES, ROWS))
    lists = [[f" {b} " for b in rng.choice(list(brands), rng.integers(0, 4))] for _ in range(ROWS)]
    brand = rng.choice(list(brands), ROWS)
    return {
        "query_id": [f"q{q}" for q in query],
        "label": (brand == brands[0]) + rng.integers(0, 2, ROWS).astype(float),
        "brand": brand.tolist(),
        "viewed": pa.array(lists, pa.list_(pa.string())),
        "tags": ["|".join(values) for values in lists],
        "device": rng.choice(["phone", "desk", ""], ROWS).tolist(),
        "image": rng.normal(size=(ROWS, 3)),
        "title": rng.choice(["Red, shoe", "red hat", "", "Größe 42 of a hat"], ROWS).tolist(),
        "interests": pa.array([[["x", "y"], ["y"], []][q % 3] for q in query], pa.list_(pa.string())),
        "price (USD)": np.where(rng.random(ROWS) < 0.2, np.nan, rng.normal(size=ROWS) * 100),
        "class": rng.normal(size=ROWS),
        "sold": rng.integers(0, 1_000, ROWS).astype(float),
        "stock": rng.integers(0, 5, ROWS).astype(float),
        "code": [str(code) for code in rng.integers(0, 9, ROWS)],
        "length": query.astype(float),
        "mask": rng.normal(size=ROWS),
        "published": rng.integers(1_500_000_000, 1_700_000_000, ROWS).astype(float),
        "now": np.full(ROWS, 1.71e9),
    }


def model(inputs=INPUTS, architecture="set_transformer", loss="softmax_cross_entropy", data=None, **training):
    """A model that was fitted and not trained."""
    config = {
        "features": {"inputs": list(inputs)},
        "model": {"architecture": architecture, "loss": loss},
        "training": {"epochs": 1, "report": False, **training},
    }
    return RelevanceModel.from_config(config, data={"train": rows() if data is None else data})
