"""Compares `tune` with random search at the same number of epochs, over many seeds, and says what a trial costs.

    python benchmarks/tuning.py [--data DIR] [--table FILE] [--searches 50] [--trials 25]

Every config of a grid (network, dropout, loss, temperature, learning rate) is trained once on the learning-to-rank data
and its validation NDCG@10 of each epoch goes into a table, with the test NDCG@10 of its best epoch; a table that was
begun is continued. The searches are those of `tune`, but read the table instead of training, the nearest learning rate
counts: TPE with successive halving (what `tune` does) for so many trials, then TPE alone and random search with and
without successive halving until each has read as many epochs. Each starts from usual values.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import time
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import optuna
from scipy.stats import wilcoxon

from ml4ir_losses import load_config
from ml4ir_losses.config.search_space import given_values, with_values
from ml4ir_losses.experiments.search import Search
from ml4ir_losses.experiments.trials import Workbench

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "ltr.yaml"
RATE, EPOCHS = "model.optimizer.learning_rate", 15
RATES = [3e-4, 1e-3, 3e-3, 1e-2, 3e-2]
SPACE = {
    "model.architecture.hidden_units": {"choice": [[32], [128]]},
    "model.architecture.dropout": {"choice": [0.0, 0.5]},
    "model.loss": {"choice": ["pairwise_logistic", "softmax_cross_entropy", "lambda_loss"]},
    "model.loss.temperature": {"choice": [0.3, 1.0]},
    RATE: {"log_uniform": [RATES[0], RATES[-1]]},
}
START = [  # configs/ltr.yaml was tuned by hand; the search starts from usual values instead
    "model.architecture={key: dnn, hidden_units: [32], dropout: 0.0}",
    "model.loss={key: softmax_cross_entropy, temperature: 1.0}",
    "model.metrics=[{key: ndcg, topn: 10, empty_queries: zero}]",
    "model.optimizer.learning_rate=1e-3",
    "data.batch_size=32",
    "training.early_stopping={monitor: val_ndcg_10, patience: 100}",
    f"training.epochs={EPOCHS}",
    "expected_metrics={}",
    f"tune={json.dumps(SPACE)}",
]


def random_sampler(seed):
    return optuna.samplers.RandomSampler(seed=seed)


SEARCHES = {
    "TPE, halving (tune)": {},
    "TPE": {"pruning": False},
    "random, halving": {"sampler": random_sampler},
    "random": {"sampler": random_sampler, "pruning": False},
}


def key_of(values):
    """The row of the table for values of the space."""
    values = values | {RATE: min(RATES, key=lambda rate: abs(math.log(rate / values[RATE])))}
    return json.dumps([values[path] for path in SPACE])


def fill(path, config):
    """The table, {key: {"validation": [epochs], "test": ...}}; rows that it lacks are trained and appended."""
    table = {}
    if path.exists():
        table = {row.pop("key"): row for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())}
    bench, grids = Workbench(), [spec["choice"] for name, spec in SPACE.items() if name != RATE]
    with path.open("a", encoding="utf-8") as file:
        for point in itertools.product(*grids, RATES):
            values = dict(zip(SPACE, point, strict=True))
            key = key_of(values)
            if key in table:
                continue
            history, started = History(), time.process_time()
            done = bench.train(with_values(config, values), [history.callback()], parts=["test"])
            row = {
                "validation": history.values,
                "test": done.judged["test"].means()["ndcg_10"],
                "seconds": round(time.process_time() - started, 3),
            }
            file.write(json.dumps({"key": key, **row}) + "\n")
            file.flush()
            table[key] = row
    return table


class History:
    """The validation value of each epoch."""

    def __init__(self):
        self.values = []

    def callback(self):
        import keras

        return keras.callbacks.LambdaCallback(on_epoch_end=lambda _, logs: self.values.append(logs["val_ndcg_10"]))


class Table:
    """Gives the epochs of the table in the place of training."""

    def __init__(self, rows, searched):
        self.rows, self.searched = rows, searched
        self.epochs = 0

    def prepare(self, config):
        return SimpleNamespace(monitored=lambda: ("val_ndcg_10", "max"), sources={})

    def train(self, config, callbacks=(), parts=None):
        values = given_values(config.model_copy(update={"tune": self.searched.tune}))
        history, model = self.rows[key_of(values)]["validation"], SimpleNamespace(stop_training=False)
        for callback in callbacks:
            callback.set_params({"epochs": EPOCHS})
            callback.set_model(model)
        for epoch, value in enumerate(history):
            self.epochs += 1
            for callback in callbacks:
                callback.on_epoch_end(epoch, {"val_ndcg_10": value})
            if model.stop_training:
                break
        return SimpleNamespace(score=max(history[: epoch + 1]), seconds=0.0)


def searched(rows, config, name, trials, budget):
    """(number of trials, epochs, validation, test) of a search of so many trials, or of at least so many epochs."""
    table = Table(rows, config)
    search = Search(config, table, **SEARCHES[name])
    search.run(trials if budget is None else 1)
    while budget is not None and table.epochs < budget:
        search.run(len(search.tried()) + 1)
    best = search.best
    test = rows[key_of(given_values(config) | best.values)]["test"]
    return len(search.tried()), table.epochs, best.score, test


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data/ltr")
    parser.add_argument("--table", type=Path, default=Path("tuning.jsonl"))
    parser.add_argument("--searches", type=int, default=50)
    parser.add_argument("--trials", type=int, default=25)
    args = parser.parse_args()
    config = load_config(CONFIG, [*START, f"data.directory={args.data}"])
    rows = fill(args.table, config)
    results = {name: [] for name in SEARCHES}
    for seed in range(args.searches):
        budget = None
        for name in SEARCHES:
            found = searched(rows, load_config(config, seed=seed), name, args.trials, budget)
            budget = budget or found[1]
            results[name].append(found)
    start = rows[key_of(given_values(config))]
    best = max(rows.values(), key=lambda row: max(row["validation"]))
    print(f"as it stands: validation {max(start['validation']):.4f}, test {start['test']:.4f}")
    print(f"best of {len(rows)}: validation {max(best['validation']):.4f}, test {best['test']:.4f}")
    ours = np.array(results["TPE, halving (tune)"])
    for name, found in results.items():
        values = np.array(found)
        trials, epochs, validation, test = values.mean(axis=0)
        text = f"{name:20} trials {trials:5.1f}  epochs {epochs:5.1f}  validation {validation:.4f}  test {test:.4f}"
        for column, part in ((2, "validation"), (3, "test")):
            difference = ours[:, column] - values[:, column]
            if difference.any():
                p = wilcoxon(difference, zero_method="zsplit").pvalue
                text += f"  tune better in {part} by {difference.mean():+.4f}, p {p:.1g}"
        print(text)
    costs(rows)


def costs(rows):
    """Prints the processor time of a training and its test: the first of a shape, which is traced, and later ones."""
    shapes = {}
    for key, row in rows.items():
        shapes.setdefault(json.dumps(json.loads(key)[:-1]), []).append(row["seconds"])
    first, later = [found[0] for found in shapes.values()], [t for found in shapes.values() for t in found[1:]]
    print(
        f"processor time of {EPOCHS} epochs: first of a shape {np.median(first):.2f} s, later {np.median(later):.2f} s"
    )


if __name__ == "__main__":
    main()
