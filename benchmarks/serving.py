"""Latency and throughput of `ml4ir-losses serve`, beside calls of other models in their own process.

    python benchmarks/serving.py                                            100 documents of 20 numbers
    python benchmarks/serving.py --inputs shop --architecture set_transformer
    python benchmarks/serving.py --python tfr=.venv-bench-tfr/bin/python    beside TF-Ranking's SavedModel, made there

The clients are a process of their own on this machine; each keeps its connection and sends its next request once it
has the answer. The other rows are calls without HTTP and JSON: `predict` of the Keras model, the compiled model as the
server calls it, TF-Ranking's SavedModel on a serialized ExampleListWithContext, and LightGBM's `predict`. All networks
have the same width and layers; those of others take numbers alone. A round measures one row after another, so that a
busy machine slows all of them; a figure is the median of the rounds after the first.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

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


class Inputs(NamedTuple):
    """What is served: the sections of a config, its data, and the columns of requests.

    Attributes:
        sections: of the config.
        data: columns for training, or None where the config names its data.
        requests: the input columns of the documents of all requests, one list after another.
        query_columns: those that belong to the query.
    """

    sections: dict[str, Any]
    data: dict[str, Any] | None
    requests: dict[str, Any]
    query_columns: Sequence[str] = ()


def numbers(features: int, documents: int) -> Inputs:
    """Random numbers, as TF-Ranking and LightGBM take them."""
    rng = np.random.default_rng(0)

    def columns(rows: int) -> dict[str, Any]:
        return {f"f{i}": rng.normal(size=rows).astype("float32") for i in range(features)}

    train = columns(4_000)
    label = np.clip(np.round(train["f0"] + rng.normal(size=4_000)), 0, 4).astype(int)
    inputs = [{"name": "numbers", "type": "numeric", "column": "f*", "transforms": ["standardise"]}]
    data = {"query_id": np.arange(4_000) // 20, "label": label, **train}
    return Inputs({"features": {"inputs": inputs}}, data, columns(REQUESTS * documents))


def shop(features: int, documents: int) -> Inputs:
    """The inputs of configs/quickstart.yaml: numbers, categories and texts of a generated search log."""
    from ml4ir_losses.config.yaml_io import read_yaml
    from ml4ir_losses.data.readers import read_table

    config = read_yaml(HERE.parent / "configs" / "quickstart.yaml")
    columns = {given["name"]: given.get("scope") for given in config["features"]["inputs"]}
    rows = read_table("test", "synthetic", queries=400, seed=7).to_arrow()
    wanted = REQUESTS * documents
    requests = {name: (rows.column(name).to_pylist() * (wanted // len(rows) + 1))[:wanted] for name in columns}
    config["data"]["options"]["queries"] = 200
    sections = {"data": config["data"], "features": config["features"]}
    return Inputs(sections, None, requests, [name for name, scope in columns.items() if scope == "query"])


INPUTS = {"numbers": numbers, "shop": shop}


def make_run(folder: Path, inputs: Inputs, architecture: str = "dnn") -> Path:
    """A run of a small network."""
    from ml4ir_losses import train

    config = {
        "name": "serving",
        "data": {"batch_size": 32},
        "model": {
            "architecture": {"key": "dnn", "hidden_units": list(HIDDEN)} if architecture == "dnn" else architecture,
            "loss": "softmax_cross_entropy",
            "metrics": [{"key": "ndcg", "topn": 10}],
            "optimizer": "adam",
        },
        "training": {"epochs": 1, "report": False},
        **inputs.sections,
    }
    data = None if inputs.data is None else dict.fromkeys(("train", "validation"), inputs.data)
    train(config, data=data, run_dir=folder / "run")
    return folder / "run"


def write_requests(folder: Path, inputs: Inputs, documents: int) -> None:
    """The same lists as bodies of requests, one a line, as rows, and, of numbers alone, as an array."""
    columns = {name: np.asarray(values).tolist() for name, values in inputs.requests.items()}
    pq.write_table(pa.table(columns), folder / "rows.parquet")
    if inputs.data is not None:
        np.save(folder / "lists.npy", np.stack([*inputs.requests.values()], axis=1).reshape(REQUESTS, documents, -1))
    own = [name for name in columns if name not in inputs.query_columns]
    with (folder / "requests.jsonl").open("w") as stream:
        for start in range(0, REQUESTS * documents, documents):
            query = {name: columns[name][start] for name in inputs.query_columns}
            rows = [
                {"id": str(row), **{name: columns[name][row] for name in own}}
                for row in range(start, start + documents)
            ]
            stream.write(json.dumps({"query": query, "documents": rows}) + "\n")


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
    parser.add_argument("--inputs", choices=INPUTS, default="numbers", help="what the model reads")
    parser.add_argument("--architecture", default="dnn", help="dnn: of the width of the others; else a key")
    parser.add_argument("--features", type=int, default=20, help="of numbers")
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
        inputs = INPUTS[options.inputs](options.features, options.documents)
        write_requests(folder, inputs, options.documents)
        run = make_run(folder, inputs, options.architecture)
        workers = {
            "serve": Worker("server", str(run), "8192"),
            "serve, one query per call": Worker("server", str(run), "1"),
            "client": Worker("client", str(folder)),
            "keras": Worker("keras", str(folder), str(run), str(options.documents)),
        }
        if options.inputs == "numbers":
            workers["lightgbm"] = Worker("lightgbm", str(folder), str(TREES), str(LEAVES))
        if options.inputs == "numbers" and "tfr" in pythons:
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

    described = f"{options.features} numbers" if options.inputs == "numbers" else "14 columns of a shop"
    network = f"dnn {'-'.join(map(str, HIDDEN))}-1" if options.architecture == "dnn" else options.architecture
    print(f"{options.documents} documents of {described}; {network}\n")
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
