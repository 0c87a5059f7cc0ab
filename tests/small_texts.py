"""Small text data sets on disk and their configs, for end-to-end tests."""

import csv
from pathlib import Path

import numpy as np

WORDS = [
    "wing",
    "flow",
    "heat",
    "shock",
    "wave",
    "plate",
    "body",
    "layer",
    "jet",
    "nose",
    "cone",
    "drag",
    "lift",
    "mach",
    "slab",
    "tube",
]
TRANSFORMER = {
    "key": "transformer",
    "embedding_dim": 8,
    "num_layers": 2,
    "num_heads": 2,
    "hidden_dim": 8,
    "dropout": 0.1,
}
BAG = {"key": "bag_of_words", "embedding_dim": 8}


def sentence(rng, topic):
    return " ".join([WORDS[topic], *rng.choice(WORDS, 4)])


def write_texts(folder: Path) -> Path:
    """Writes splits of text triples with labels of every kind, and a corpus with queries and judgments."""
    rng = np.random.default_rng(0)
    header = ["a", "b", "c", "score", "same", "topic", "t1", "t2"]
    for name, rows in (("train", 48), ("validation", 16), ("test", 16)):
        table = []
        for row in range(rows):
            topic, other = row % 4, (row + 1) % 4
            same = row % 3 > 0
            texts = [sentence(rng, topic), sentence(rng, topic if same else other), sentence(rng, other)]
            table.append([*texts, round(float(rng.random()), 3), int(same), WORDS[topic], *rng.random(2).round(3)])
        write(folder / f"{name}.csv", header, table)
    write(folder / "docs.csv", ["doc_id", "text"], [[d, sentence(rng, d % 8)] for d in range(40)])
    write(folder / "queries.csv", ["query_id", "text", "kind"], [[q, WORDS[q], f"k{q % 2}"] for q in range(6)])
    judgments = [[q, d, 1 + d % 3] for q in range(6) for d in range(40) if d % 8 == q]
    write(folder / "qrels.csv", ["query_id", "doc_id", "grade"], judgments)
    write(
        folder / "lists.csv",
        ["query", "document", "label"],
        [[WORDS[q], f"{WORDS[d]} x", int(q == d)] for q in range(4) for d in range(6)],
    )
    return folder


def write(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


PAIR = {"anchor": "a", "positive": "b"}
TRIPLET = PAIR | {"negative": "c"}
CLASS = {"text": "a", "label": "topic"}


def config(folder, loss, columns=None, encoder=None, architecture="bi_encoder", **sections):
    data = {"directory": str(folder), "train": "train.csv", "batch_size": 12, "columns": columns or PAIR}
    return {
        "data": data | sections.pop("data", {}),
        "model": {
            "architecture": {"key": architecture, "encoder": encoder or BAG} | sections.pop("architecture_", {}),
            "loss": loss,
        },
        "training": {"epochs": 2, "report": False} | sections.pop("training", {}),
        **sections,
    }
