"""Latency and throughput of `ml4ir-losses serve`, beside calls of other models in their own process.

    python benchmarks/serving.py                                            100 documents of 20 numbers
    python benchmarks/serving.py --features 136 --rounds 9
    python benchmarks/serving.py --python tfr=.venv-bench-tfr/bin/python    beside TF-Ranking's SavedModel, made there

The clients are a process of their own on this machine; each keeps its connection and sends its next request once it
has the answer. The other rows are calls without HTTP and JSON: `predict` of the Keras model, the compiled model as the
server calls it, TF-Ranking's SavedModel on a serialized ExampleListWithContext, and LightGBM's `predict`. All networks
have the same width and layers, all inputs the same numbers. A round measures one row after another, so that a busy
machine slows all of them; a figure is the median of the rounds after the first.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

HERE = Path(__file__).parent
HIDDEN = (128, 64)
REQUESTS = 64  # different requests, sent in turn
TREES, LEAVES = 300, 31


class Row(NamedTuple):
    """A row of the table: its name, the process that measures it, and what that process is told."""

    name: str
    worker: str
    task: dict[str, Any]


class Worker:
    """A process that answers each line of its input, a task, with a line of measurements."""

    def __init__(self, kind: str, *arguments: str, python: str = sys.executable) -> None:
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": ""}
        self.process = subprocess.Popen(
            [python, str(HERE / "serving_worker.py"), kind, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **quiet, "PYTHONPATH": str(HERE.parent)},
        )

    def ask(self, task: dict[str, Any]) -> dict[str, Any]:
        """The answer to a task."""
        print(json.dumps(task), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()  # type: ignore[union-attr]
        if not line:
            raise SystemExit(f"{' '.join(map(str, self.process.args))}: ended with {self.process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        """Ends the process."""
        self.process.stdin.close()  # type: ignore[union-attr]
        self.process.wait()


def make_run(folder: Path, features: int, rows: int = 4_000) -> Path:
    """A run of a small network on random numbers."""
    from ml4ir_losses import train

    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, features)).astype("float32")
    columns = {f"f{i}": x[:, i] for i in range(features)}
    label = np.clip(np.round(x[:, 0] + rng.normal(size=rows)), 0, 4).astype(int)
    data = {"query_id": np.arange(rows) // 20, "label": label, **columns}
    config = {
        "name": "serving",
        "data": {"batch_size": 32},
        "features": {"inputs": [{"name": "numbers", "type": "numeric", "column": "f*", "transforms": ["standardise"]}]},
        "model": {
            "architecture": {"key": "dnn", "hidden_units": list(HIDDEN)},
            "loss": "softmax_cross_entropy",
            "metrics": [{"key": "ndcg", "topn": 10}],
            "optimizer": "adam",
        },
        "training": {"epochs": 1, "report": False},
    }
    run = folder / "run"
    train(config, data=dict.fromkeys(("train", "validation"), data), run_dir=run)
    return run


def write_requests(folder: Path, features: int, documents: int) -> None:
    """The same lists as bodies of requests (one a line), and as numbers."""
    x = np.random.default_rng(1).normal(size=(REQUESTS, documents, features)).astype("float32")
    np.save(folder / "lists.npy", x)
    with (folder / "requests.jsonl").open("w") as stream:
        for numbers in x:
            rows = [
                {"id": str(i), **{f"f{j}": round(float(v), 6) for j, v in enumerate(row)}}
                for i, row in enumerate(numbers)
            ]
            stream.write(json.dumps({"documents": rows}) + "\n")


def rows_of(clients: list[int], has: set[str]) -> list[Row]:
    """The rows of the table."""
    rows = []
    for number in clients:
        names = ["serve"] if number == 1 else ["serve", "serve, one query per call"]
        rows += [
            Row(f"{name}, {number} client{'s' * (number > 1)}", "client", {"to": name, "clients": number})
            for name in names
        ]
    calls = [("compiled model, in process", "keras", "call"), ("model.predict, in process", "keras", "predict")]
    calls += [
        ("TF-Ranking's SavedModel, in process", "tfr", "call"),
        ("LightGBM's predict, in process", "lightgbm", "call"),
    ]
    return rows + [Row(name, worker, {"what": what}) for name, worker, what in calls if worker in has]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=int, default=20)
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--python", action="append", default=[], help="tfr=PATH of the Python with TF-Ranking")
    parser.add_argument("--json", type=Path, help="also write the figures of all rounds there")
    options = parser.parse_args()
    pythons = dict(given.split("=", 1) for given in options.python)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_requests(folder, options.features, options.documents)
        run = make_run(folder, options.features)
        workers = {
            "serve": Worker("server", str(run), "8192"),
            "serve, one query per call": Worker("server", str(run), "1"),
            "client": Worker("client", str(folder)),
            "keras": Worker("keras", str(folder), str(run)),
            "lightgbm": Worker("lightgbm", str(folder), str(TREES), str(LEAVES)),
        }
        if "tfr" in pythons:
            hidden = [str(units) for units in HIDDEN]
            made = Worker("make_tfr", str(folder), str(options.features), *hidden, python=pythons["tfr"])
            made.ask({})
            made.close()
            workers["tfr"] = Worker("tfr", str(folder), python=pythons["tfr"])
        ports = {name: worker.ask({})["port"] for name, worker in workers.items() if name.startswith("serve")}
        rows = rows_of(options.clients, set(workers))
        found = measure(rows, workers, ports, options.rounds, options.seconds)
        for worker in workers.values():
            worker.close()
    print_table(found, options)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


def measure(
    rows: list[Row], workers: dict[str, Worker], ports: dict[str, int], rounds: int, seconds: float
) -> dict[str, list[dict[str, float]]]:
    """The measurements of each row, one of each round; the first round is the warm-up."""
    found: dict[str, list[dict[str, float]]] = {row.name: [] for row in rows}
    for number in range(rounds + 1):
        for row in rows:
            task = {**row.task, "seconds": seconds if number else 1.0}
            if "to" in task:
                task["port"] = ports[task.pop("to")]
            result = workers[row.worker].ask(task)
            if number:
                found[row.name].append(result)
            print(f"round {number}: {row.name}: {result}", file=sys.stderr)
    return found


def print_table(found: dict[str, list[dict[str, float]]], options: argparse.Namespace) -> None:
    """The medians as Markdown."""

    def median(name: str, figure: str) -> float:
        return statistics.median(result[figure] for result in found[name])

    print(f"{options.documents} documents of {options.features} numbers; network {'-'.join(map(str, HIDDEN))}-1\n")
    print("| | p50 ms | p99 ms | requests/s |\n|---|---:|---:|---:|")
    for name in found:
        print(f"| {name} | {median(name, 'p50'):.2f} | {median(name, 'p99'):.2f} | {median(name, 'rate'):,.0f} |")
    one, call = found.get("serve, 1 client"), found.get("compiled model, in process")
    if one and call:
        over = statistics.median(a["p50"] - b["p50"] for a, b in zip(one, call, strict=True))
        print(f"\nA request takes {over:.2f} ms more than the call of the model (p50).")
    many = max(options.clients)
    joined, alone = found.get(f"serve, {many} clients"), found.get(f"serve, one query per call, {many} clients")
    if joined and alone:
        ratio = statistics.median(a["rate"] / b["rate"] for a, b in zip(joined, alone, strict=True))
        print(f"Joined requests: {ratio:.2f} times the requests per second of one query per call, at {many} clients.")


if __name__ == "__main__":
    main()
