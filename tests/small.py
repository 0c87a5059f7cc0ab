"""A small data set of features on disk and its config, for end-to-end tests."""

from pathlib import Path
from typing import Any

import numpy as np

from ml4ir_losses.data.queries import Roles, make_queries
from ml4ir_losses.data.splitting import read_splits
from ml4ir_losses.features.fitting import encode_rows

WORDS = ["red", "blue", "green", "shoe", "hat", "coat", "wool", "silk"]


def write_csv(path: Path, queries: int = 24, seed: int = 0, start: int = 0) -> Path:
    """Writes queries of 3 to 9 documents whose label follows `price` and the colour."""
    rng = np.random.default_rng(seed)
    lines = ["query_id,doc,label,clicked,price,brand,title,segment,shown,w"]
    for q in range(start, start + queries):
        segment = rng.choice(["new", "old"])
        for d in range(int(rng.integers(3, 10))):
            price, words = rng.random(), rng.choice(WORDS, 2)
            label = int(2 * price + (words[0] == "red") + (segment == "new") * (words[1] == "shoe"))
            clicked = int(label > 0 and rng.random() < 0.5)
            missing = "" if rng.random() < 0.1 else f"{price:.4f}"
            cells = [f"q{q}", f"d{d}", label, clicked, missing, f"b{rng.integers(5)}", " ".join(words), segment]
            lines.append(",".join(map(str, [*cells, d + 1, f"{rng.random() + 0.5:.2f}"])))
    path.write_text("\n".join(lines) + "\n")
    return path


def config(directory: Path, **sections: Any) -> dict[str, Any]:
    """A config that reads train.csv, validation.csv and test.csv of a folder, with `sections` merged into it."""
    base: dict[str, Any] = {
        "name": "small",
        "data": {
            "directory": str(directory),
            "train": "train.csv",
            "validation": "validation.csv",
            "test": "test.csv",
            "batch_size": 8,
        },
        "features": {
            "document_id": "doc",
            "inputs": [
                {"name": "price", "type": "numeric", "transforms": ["standardise"], "missing_indicator": True},
                {"name": "brand", "type": "categorical", "embedding_dim": 3},
                {"name": "segment", "type": "categorical", "scope": "query", "embedding_dim": 2},
                {"name": "title", "type": "text", "embedding_dim": 4, "max_length": 4},
            ],
        },
        "model": {
            "architecture": {"key": "dnn", "hidden_units": [16]},
            "loss": "softmax_cross_entropy",
            "metrics": [{"key": "ndcg", "topn": 5}, "mrr"],
            "optimizer": {"key": "adam", "learning_rate": 0.02},
        },
        "training": {"epochs": 2, "seed": 3, "report": False},
    }
    for name, section in sections.items():
        base[name] = {**base.get(name, {}), **section} if isinstance(section, dict) else section
    return base


def write_splits(directory: Path) -> Path:
    """Writes train.csv, validation.csv and test.csv."""
    for i, split in enumerate(("train", "validation", "test")):
        write_csv(directory / f"{split}.csv", queries=(40, 12, 12)[i], seed=i, start=100 * i)
    return directory


def read_queries(config: Any, inputs: Any, split: str = "train", **options: Any) -> Any:
    """The queries of a split of a validated config, encoded by its fitted inputs."""
    table = read_splits(config.data, config.features.query_id, [split], config.features.list_columns)[split]
    roles = Roles.of(config.features, config.model)
    return make_queries(table, roles, encode_rows(inputs, table), **options)
