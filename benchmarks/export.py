"""Size and time of trained models in every export format beside Keras; prints the tables of docs/export.md.

    python benchmarks/export.py --documents 100 --repetitions 200

The formats take turns, one call each, in one process; the median counts. What a call takes is one list of documents.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ml4ir_losses import load_model, train
from ml4ir_losses.export.exporting import Exported, export_model
from ml4ir_losses.export.formats import FORMATS, get_format

NUMBERS, QUERIES, BRANDS = 136, 150, 5_000
ARCHITECTURES: dict[str, Any] = {
    "dnn": {"key": "dnn", "hidden_units": [512, 256, 128]},
    "set_transformer": {"key": "set_transformer", "hidden_units": [256, 128], "attention_dim": 128},
}
INPUTS = [
    {"name": "numbers", "type": "numeric", "column": "f*", "transforms": ["standardise"]},
    {"name": "brand", "type": "categorical", "embedding_dim": 32},
]
Call = Callable[[], Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--architectures", nargs="+", default=list(ARCHITECTURES), choices=ARCHITECTURES)
    whole = [key for key in FORMATS if get_format(key).gives is None]  # search engines take linear models and gams
    parser.add_argument("--formats", nargs="+", default=whole, choices=whole)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for key in options.architectures:
            rows = measured(key, options.documents, options.repetitions, options.formats, Path(folder) / key)
            print(f"\n{key}, {options.documents} documents\n", *rows, sep="\n", flush=True)


def measured(key: str, documents: int, repetitions: int, formats: list[str], folder: Path) -> list[str]:
    """The lines of the table of an architecture."""
    model = trained(key, documents, folder / "run")
    data, x = rows(2, documents, seed=2), one_list(model, documents)
    calls: dict[str, Call] = {"Keras": lambda: model.predict_on_batch(x)}
    sizes, exports = {"Keras": (folder / "run" / "model.keras").stat().st_size}, dict[str, Exported]()
    for name in formats:
        for quantize in (None, *get_format(name).quantizations):
            title = name if quantize is None else f"{name} {quantize}"
            exports[title] = export_model(model, folder / title, name, quantize=quantize, data=data)
            sizes[title] = sum(f.stat().st_size for f in (folder / title).rglob("*") if f.is_file())
            calls[title] = call(name, folder / title, x)
    times = taken(calls, repetitions)
    lines = ["| format | KB | ms | largest difference | pairs in Keras' order |", "|---|---:|---:|---:|---:|"]
    for title in calls:
        difference, order = "", ""
        if title in exports:
            difference = f"{max(exports[title].differences.values()):.1e}"
            order = f"{exports[title].same_order:.2%}"
        lines.append(f"| {title} | {sizes[title] / 1e3:,.0f} | {times[title] * 1e3:.2f} | {difference} | {order} |")
    return lines


def trained(key: str, documents: int, folder: Path) -> Any:
    """A model after three epochs."""
    config = {
        "data": {"batch_size": 8},
        "features": {"inputs": INPUTS},
        "model": {"architecture": ARCHITECTURES[key], "loss": "softmax_cross_entropy"},
        "training": {"epochs": 3, "report": False},
    }
    data = {"train": rows(QUERIES, documents, seed=0), "test": rows(10, documents, seed=1)}
    return load_model(train(config, folder, data=data, progress=False).path)


def rows(queries: int, documents: int, seed: int) -> dict[str, Any]:
    """Documents whose relevance is a function of some numbers and of their brand."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(queries * documents, NUMBERS)).astype("float32")
    brand = rng.integers(0, BRANDS, len(x))
    relevance = x[:, 0] + np.sin(2 * x[:, 1]) + x[:, 2] * x[:, 3] + (brand % 7 == 0) + 0.3 * rng.normal(size=len(x))
    return {
        "query_id": np.repeat(np.arange(queries), documents),
        "label": np.clip(np.floor(relevance + 1), 0, 4),
        "brand": [f"b{number}" for number in brand],
        **{f"f{i}": x[:, i] for i in range(NUMBERS)},
    }


def one_list(model: Any, documents: int) -> dict[str, Any]:
    """A batch of one list."""
    rng = np.random.default_rng(3)
    return {
        "numbers": rng.normal(size=(1, documents, NUMBERS)).astype("float32"),
        "brand": rng.integers(0, model.fitted[1].rows, (1, documents)).astype("int32"),
        "mask": np.ones((1, documents), "float32"),
    }


def call(name: str, folder: Path, x: dict[str, Any]) -> Call:
    """A call of an exported model with a batch, by columns where the format takes these."""
    target = get_format(name)
    run = target.open(folder)
    if target.artifact == "score":
        return lambda: run["model"](x)
    columns = {f"f{i}": x["numbers"][..., i] for i in range(NUMBERS)}
    columns["brand"] = np.array([[f"b{number}" for number in x["brand"][0]]], object)
    return lambda: run["serving_default"](columns)


def taken(calls: dict[str, Call], repetitions: int) -> dict[str, float]:
    """The median seconds of each call."""
    seconds: dict[str, list[float]] = {title: [] for title in calls}
    for repetition in range(repetitions + 5):
        for title, run in calls.items():
            start = time.perf_counter()
            run()
            if repetition >= 5:  # the first ones are compiled
                seconds[title].append(time.perf_counter() - start)
    return {title: statistics.median(found) for title, found in seconds.items()}


if __name__ == "__main__":
    main()
