"""Training on clicks whose truth is known: `python benchmarks/position_bias.py` prints the tables of docs/clicks.md.

The documents of the generated search log have grades. A ranker that sorts by popularity, with some noise, shows the
first ten, and position-based clicks are simulated: rank r is looked at with probability 1/r. Every model is the same
network and loss on the same clicks, and differs in `model.position_bias` alone; `biased` has none, `grades` is trained
on the truth. They are evaluated by the clicks of a further log of the same ranker, and by the grades of all documents.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import defaultdict
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from threadpoolctl import threadpool_limits

from ml4ir_losses import load_config
from ml4ir_losses.data.clicks.logs import simulate_clicks
from ml4ir_losses.data.propensities import estimate_propensities
from ml4ir_losses.data.readers import read_table
from ml4ir_losses.data.table import Table, group_by_query
from ml4ir_losses.experiments.experiment import prepare
from ml4ir_losses.metrics.ranking.ndcg import ndcg

TOP, ETA = 10, 1.0
TRUE = 1.0 / np.arange(1, TOP + 1) ** ETA
NUMBERS = ["price", "popularity", "bm25", "title_match", "rating", "age_days", "in_stock", "query_length"]
CATEGORIES = ["brand", "category", "user_segment", "device"]
FEATURES, METHODS = [*NUMBERS, *CATEGORIES], ("em", "swaps")
INPUTS = [
    *({"name": n, "type": "numeric", "transforms": ["log1p", "standardise"]} for n in NUMBERS[:2]),
    *({"name": n, "type": "numeric", "transforms": ["standardise"]} for n in NUMBERS[2:]),
    *({"name": n, "type": "categorical", "embedding_dim": 4} for n in CATEGORIES),
]


def config(label: str, epochs: int, seed: int, bias: Any) -> dict[str, Any]:
    """The experiment; only the labels and the position bias differ."""
    return {
        "data": {"batch_size": 128},
        "features": {"query_id": "session_id", "label": label, "positions": "position", "inputs": INPUTS},
        "model": {
            "architecture": {"key": "dnn", "hidden_units": [32]},
            "loss": "softmax_cross_entropy",
            "position_bias": bias,
            "optimizer": {"key": "adam", "learning_rate": 0.005},
        },
        "training": {"epochs": epochs, "seed": seed},
    }


def trained(log: Table, label: str, epochs: int, seed: int, bias: Any = None) -> Any:
    """The model after all epochs."""
    experiment = prepare(load_config(config(label, epochs, seed, bias), data={"train": columns_of(log)}))
    experiment.model.fit(experiment.dataset("train"), epochs=epochs, verbose=0)
    return experiment.model


def columns_of(table: Table) -> Any:
    """A table as data in memory."""
    import pyarrow as pa

    return pa.table(table.columns)


def mean_ndcg(table: Table, scores: Any, label: str) -> float:
    """Mean NDCG@10 over the queries with something relevant, by the order of the scores."""
    order, offsets = group_by_query(table.strings("session_id"))
    sizes = np.diff(offsets)
    mask = np.arange(sizes.max()) < sizes[:, None]
    labels, padded = np.full(mask.shape, -1.0, "float32"), np.zeros(mask.shape, "float32")
    labels[mask], padded[mask] = table.numeric(label)[order], scores[order]
    values, weights = ndcg(labels, padded, mask, topn=10)
    values, weights = (np.asarray(keras.ops.convert_to_numpy(x)) for x in (values, weights))
    return float((values * weights).sum() / weights.sum())


def logs(queries: int, sessions: int, seed: int) -> tuple[Table, Table, Table]:
    """The click logs of training and test queries, and the graded test queries."""
    options: dict[str, Any] = {"model": {"key": "position_based", "eta": ETA}, "top": TOP, "seed": seed}
    options |= {"ranker_noise": 0.3, "swaps": 1.0}
    splits = {split: read_table(split, "synthetic", queries=queries, seed=seed) for split in ("train", "test")}
    log, clicked = (
        simulate_clicks(table, np.log1p(table.numeric("popularity")), sessions=number, **options)
        for table, number in ((splits["train"], sessions), (splits["test"], 3))
    )
    graded = splits["test"]
    graded = Table({**graded.columns, "session_id": graded.columns["query_id"]}, graded.sources)
    return log, clicked, graded


def print_estimates(queries: int, sessions: int, seed: int) -> None:
    """Prints the estimates from a larger log beside the truth, with their intervals."""
    log, _, _ = logs(queries, sessions, seed)
    print(f"{len(log):,} rows, {log.numeric('click').sum():,.0f} clicks")
    print(f"\n| rank | true |{'|'.join(f' {name} | 95 % interval | error ' for name in METHODS)}|\n|{'---|' * 8}")
    with threadpool_limits(1):
        found = [
            estimate_propensities(columns_of(log), method=name, features=FEATURES, max_rows=400_000, seed=seed)
            for name in METHODS
        ]
    for i, true in enumerate(TRUE):
        cells = [f"{i + 1}", f"{true:.4f}"]
        for estimate in found:
            value, interval = estimate.propensities[i], estimate.intervals[i] or (0.0, 0.0)
            cells += [f"{value:.4f}", f"{interval[0]:.4f} to {interval[1]:.4f}", f"{100 * (value / true - 1):+.1f} %"]
        print(f"| {' | '.join(cells)} |")


def main() -> None:
    """Prints the propensities and the two judgements of each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=1000, help="of all splits; 70 %% are trained on")
    parser.add_argument("--sessions", type=int, default=50, help="of each query")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default="", help="train the models alone whose names hold this text")
    parser.add_argument("--estimates", action="store_true", help="only estimate propensities, from a larger log")
    arguments = parser.parse_args()
    if arguments.estimates:
        print_estimates(arguments.queries, arguments.sessions, seed=1)
        return
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    errors: dict[str, list[Any]] = defaultdict(list)
    for seed in range(1, arguments.seeds + 1):
        start = time.perf_counter()
        log, clicked, graded = logs(arguments.queries, arguments.sessions, seed)
        biases: dict[str, Any] = {
            "biased": None,
            "additive": "additive",
            "tower": "tower",
            "propensity (true)": {"key": "propensity", "values": TRUE.tolist()},
        }
        for method in METHODS:
            if arguments.only not in f"propensity ({method})":
                continue
            with threadpool_limits(1):
                estimate = estimate_propensities(columns_of(log), method=method, features=FEATURES, resamples=0)
            errors[method].append(np.array(estimate.propensities) / TRUE - 1.0)
            biases[f"propensity ({method})"] = {"key": "propensity", "values": estimate.propensities}
        scores = {"order of the log": tuple(np.log1p(table.numeric("popularity")) for table in (clicked, graded))}
        for name, bias in biases.items():
            if arguments.only not in name:
                continue
            model = trained(log, "click", arguments.epochs, seed, bias)
            scores[name] = model.predict_rows(columns_of(clicked)), model.predict_rows(columns_of(graded))
        if arguments.only in "grades":
            model = trained(log, "label", arguments.epochs, seed)
            scores["grades"] = model.predict_rows(columns_of(clicked)), model.predict_rows(columns_of(graded))
        for name, (by_click, by_grade) in scores.items():
            found[name].append((mean_ndcg(clicked, by_click, "click"), mean_ndcg(graded, by_grade, "label")))
        seconds = time.perf_counter() - start
        print(f"seed {seed}: {len(log):,} rows, {log.numeric('click').sum():,.0f} clicks, {seconds:.0f} s", flush=True)
    print(f"\n| trained on | NDCG@10 of clicks | NDCG@10 of grades |\n|{'---|' * 3}")
    for name, values in found.items():
        spread = np.std(values, 0, ddof=min(1, arguments.seeds - 1))
        cells = [f"{mean:.4f} ± {std:.4f}" for mean, std in zip(np.mean(values, 0), spread, strict=True)]
        print(f"| {name} | {' | '.join(cells)} |")
    print(f"\n| error of the estimate at rank | {' | '.join(map(str, range(1, TOP + 1)))} |\n|{'---|' * (TOP + 1)}")
    for method, values in errors.items():
        print(f"| {method}, mean | " + " | ".join(f"{100 * v:+.1f} %" for v in np.mean(values, 0)) + " |")
        print(f"| {method}, largest | " + " | ".join(f"{100 * v:.1f} %" for v in np.abs(values).max(0)) + " |")


if __name__ == "__main__":
    main()
