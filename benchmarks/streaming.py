"""Memory and speed of training on data that do not fit into `data.memory`.

    python benchmarks/streaming.py                                      a small run
    python benchmarks/streaming.py --rows 80000000 --memory 2GB         40 GB of rows, 20 times the allowed memory
    python benchmarks/streaming.py --rows 1000000 --memory 200MB --compare

Rows are generated as Parquet files of `--features` float32 columns, the rows of a query adjacent (`--scattered`: not).
Two processes are measured: an empty one, which imports TensorFlow and the package and trains one batch of the same
model, and one that trains on the files. The table says the highest resident memory of both and their difference, the
time of each pass and the documents per second of the streamed epochs. `--compare` trains in the same process on the
same queries in memory too, an epoch of each in turn; the ratio is that of the medians.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DOCUMENTS = 100  # per query, on average
ROWS_PER_GROUP = 50_000


def tables(rows: int, features: int, seed: int, scattered: bool) -> Iterator[pa.Table]:
    """Row groups of columns query_id, label, f1, ..., fF."""
    rng = np.random.default_rng(seed)
    queries = max(1, rows // DOCUMENTS)
    query = 0
    for start in range(0, rows, ROWS_PER_GROUP):
        count = min(ROWS_PER_GROUP, rows - start)
        if scattered:
            ids = rng.integers(0, queries, count)
        else:
            sizes = rng.integers(DOCUMENTS // 2, DOCUMENTS * 3 // 2, 2 * count // DOCUMENTS + 2)
            ids = query + np.repeat(np.arange(len(sizes)), sizes)[:count]
            query = int(ids[-1]) + 1
        labels = rng.choice(5, count, p=(0.52, 0.32, 0.13, 0.02, 0.01)).astype("float32")
        x = rng.standard_normal((count, features), dtype="float32")
        x[:, :8] += labels[:, None]
        columns = {f"f{i}": x[:, i - 1] for i in range(1, features + 1)}
        yield pa.table({"query_id": ids.astype(str), "label": labels, **columns})


def write(path: Path, *arguments: Any) -> None:
    """Writes a Parquet file, row group by row group."""
    writer = None
    for table in tables(*arguments):
        writer = writer or pq.ParquetWriter(path, table.schema, compression="none", use_dictionary=False)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def config(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """A network over all features, trained on the files of a folder."""
    return {
        "data": {
            "directory": str(folder),
            "train": "train.parquet",
            "validation": "validation.parquet",
            "batch_size": 32,
            "memory": options.memory,
            "cache": str(folder / "cache"),
        },
        "features": {"inputs": [{"name": "f*", "type": "numeric", "transforms": ["standardise"]}]},
        "model": {"architecture": {"key": "dnn", "hidden_units": [256, 128]}, "loss": "softmax_cross_entropy"},
        "training": {"epochs": options.epochs, "report": False},
    }


def memory(name: str) -> float:
    """`VmRSS`, the resident memory, or `VmHWM`, the most there was, in MB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith(f"{name}:"))


def worker(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Trains on the files of a folder in this process, and measures it."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    from ml4ir_losses.config.load import load_config
    from ml4ir_losses.data.batching import BatchPlan, list_dataset
    from ml4ir_losses.data.streaming.store import QueryStore
    from ml4ir_losses.experiments.feature_data import read_features
    from ml4ir_losses.experiments.feature_experiment import FeatureExperiment

    checked = load_config(config(folder, options))
    found: dict[str, Any] = {}

    def timed(name: str, run: Any) -> Any:
        started = time.perf_counter()
        result = run()
        found.setdefault(name, []).append(time.perf_counter() - started)
        found[f"memory after {name}"] = memory("VmHWM")
        return result

    data = timed("reading and encoding", lambda: read_features(checked))
    experiment = FeatureExperiment.prepare(checked, data)
    plan = experiment.plan("train")
    stored = data.queries["train"]
    found["documents"], found["streamed"] = stored.rows, isinstance(stored, QueryStore)
    experiment.model.fit(list_dataset(BatchPlan(stored.take(np.arange(32)), 32)), verbose=0)  # traces the step

    def train(plan: Any) -> None:
        experiment.model.fit(list_dataset(plan), verbose=0)

    compared = None
    if options.compare and isinstance(stored, QueryStore):
        queries = stored.read([(0, len(stored))])
        compared = BatchPlan(queries, plan.batch_size, shuffle=True, bucketing=True, seed=plan.seed)
    for _ in range(options.epochs):
        timed("epoch", lambda: train(plan))
        if compared is not None:
            timed("epoch in memory", lambda: train(compared))
    timed("evaluation", lambda: experiment.judge("validation"))
    return found


def measured(folder: Path, options: argparse.Namespace, arguments: list[str]) -> dict[str, Any]:
    """What a process of its own measures on the files of a folder."""
    command = [sys.executable, __file__, *arguments, "--worker", str(folder)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def main() -> None:
    """Prints the figures of both processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--features", type=int, default=136)
    parser.add_argument("--memory", default="50MB", help="data.memory")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--scattered", action="store_true", help="the rows of a query are not adjacent")
    parser.add_argument("--compare", action="store_true", help="epochs in memory, too")
    parser.add_argument(
        "--folder", type=Path, help="where the files are written, and kept; a temporary folder if omitted"
    )
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(worker(options.worker, options)))
        return
    with tempfile.TemporaryDirectory(prefix="ml4ir_losses-benchmark-") as temporary:
        folder = options.folder or Path(temporary)
        for name, rows in (("empty", 10_000), ("large", options.rows)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            for split, count, seed in (("train", rows, 1), ("validation", max(5_000, rows // 20), 2)):
                path = folder / name / f"{split}.parquet"
                if not path.exists():
                    write(path, count, options.features, seed, options.scattered and name == "large")
        given = ["--features", str(options.features), "--epochs", str(options.epochs)]
        empty = measured(folder / "empty", options, [*given, "--memory", "1GB"])
        compare = ["--compare"] if options.compare else []
        large = measured(folder / "large", options, [*given, "--memory", options.memory, *compare])
    size = options.rows * options.features * 4
    print(f"{options.rows:,} rows × {options.features} features ({size / 1e9:.1f} GB), data.memory {options.memory}")
    above = large["memory after evaluation"] - empty["memory after evaluation"]
    print(f"highest memory: {large['memory after evaluation']:,.0f} MB, {above:,.0f} MB above an empty process")
    print(f"  after reading and encoding: {large['memory after reading and encoding']:,.0f} MB")
    print(f"streamed: {large['streamed']}; reading and encoding {large['reading and encoding'][0]:.1f} s")
    streamed = statistics.median(large["epoch"])
    print(f"streamed epoch: {large['documents'] / streamed:,.0f} documents/s")
    if "epoch in memory" in large:
        in_memory = statistics.median(large["epoch in memory"])
        print(f"epoch in memory: {large['documents'] / in_memory:,.0f} documents/s; ratio {in_memory / streamed:.2f}")


if __name__ == "__main__":
    main()
