"""A plan for a training on many machines, from what one process does on this machine.

    python benchmarks/plan.py                                     100 machines, 10 billion documents
    python benchmarks/plan.py --machines 8 --documents 2e8 --cores 32

Measured here, on all cores of this machine, with rows of 136 features and a network of 256 and 128 units: the pass
that fits the features, the pass that encodes them, the bytes of a document in Parquet and encoded, the documents per
second of streamed epochs (the median), the size of a checkpoint and the time to write one. The rest is arithmetic,
given the options:

    --queries   queries per machine and step
    --reduce    milliseconds in which two processes add up their gradients (`benchmarks/collective.py`)
    --restart   seconds from the loss of a process to the next step (`log.txt` of a run on Ray)
    --losses    lost machines per machine and hour
    --network   bytes per second that a machine can send

A machine with more cores is taken to be faster in proportion. Machines exchange gradients in a ring, which has
2 (n - 1) hops, each as slow as one between two processes here.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streaming import DOCUMENTS, config, write

FEATURES = 136
WINDOW = "60MB"  # of memory, so that the rows are streamed
EPOCHS = 5
EMBEDDING = 256  # of a query and of a document, where negatives are gathered


@dataclass(frozen=True)
class Here:
    """What this machine does: documents per second of each pass, bytes per document, and a checkpoint."""

    cores: int
    fit: float
    encode: float
    train: float
    file: float
    encoded: float
    parameters: int
    checkpoint: float
    writing: float


def measured(rows: int, folder: Path) -> Here:
    """Runs each pass on generated rows."""
    from ml4ir_losses.config.load import load_config
    from ml4ir_losses.data.batching import list_dataset
    from ml4ir_losses.experiments.checkpoints.callback import Checkpoints
    from ml4ir_losses.experiments.feature_data import fit_training_split, read_features
    from ml4ir_losses.experiments.feature_experiment import FeatureExperiment
    from ml4ir_losses.experiments.fit import fit

    def seconds(run: Any) -> tuple[Any, float]:
        started = time.perf_counter()
        result = run()
        return result, time.perf_counter() - started

    file = folder / "train.parquet"
    write(file, rows, FEATURES, 0, False)
    raw = config(folder, argparse.Namespace(memory=WINDOW, epochs=1))
    del raw["data"]["validation"]
    raw["training"]["checkpoint"] = {"every": "1 epoch"}
    checked = load_config(raw)
    write(folder / "few.parquet", 5000, FEATURES, 1, False)
    small = {**raw, "data": {**raw["data"], "train": "few.parquet"}}
    fit_training_split(load_config(small))  # imports what it needs
    (inputs, _), fitting = seconds(lambda: fit_training_split(checked))
    data, encoding = seconds(lambda: read_features(checked, inputs))
    encoded = sum(path.stat().st_size for path in (folder / "cache").rglob("*") if path.is_file())
    experiment = FeatureExperiment.prepare(checked, data)
    checkpoints = Checkpoints(folder / "checkpoints", checked.training.checkpoint)
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("ml4ir_losses")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    fit(experiment, checkpoints=checkpoints)  # traces the step, too
    (line,) = (line for line in lines if line.startswith("checkpoint: "))
    (last,) = (folder / "checkpoints").iterdir()
    plan = experiment.plan("train")
    epochs = [seconds(lambda: experiment.model.fit(list_dataset(plan), verbose=0))[1] for _ in range(EPOCHS)]
    return Here(
        cores=len(os.sched_getaffinity(0)),
        fit=rows / fitting,
        encode=rows / encoding,
        train=rows / statistics.median(epochs),
        file=file.stat().st_size / rows,
        encoded=encoded / rows,
        parameters=experiment.model.count_params(),
        checkpoint=last.stat().st_size,
        writing=float(line.rpartition("(")[2].removesuffix(" s)")),
    )


def plan(here: Here, options: argparse.Namespace) -> dict[str, str]:
    """What follows for all machines, a line each."""
    machines, scale = options.machines, options.cores / here.cores
    documents = options.documents / machines  # of a machine
    fitting, encoding = options.documents / (here.fit * scale), documents / (here.encode * scale)
    training = documents / (here.train * scale)
    working = options.queries * DOCUMENTS / (here.train * scale)  # seconds per step
    waiting = options.reduce / 2000 * 2 * (machines - 1)
    sent = 2 * (machines - 1) / machines * 4 * here.parameters
    gathered = (machines - 1) * options.queries * 2 * EMBEDDING * 4
    steps = documents / DOCUMENTS / options.queries
    hours = 1 / (machines * options.losses)
    lost = 150 + options.restart + encoding
    interval = math.sqrt(2 * max(here.writing, 0.01) * 3600 * hours)
    return {
        "Parquet, all": f"{options.documents * here.file / 1e12:.1f} TB",
        "Parquet, each machine": f"{documents * here.file / 1e9:.0f} GB",
        "encoded, on the disk of each machine": f"{documents * here.encoded / 1e9:.0f} GB",
        "pass that fits the features, by the chief": f"{fitting / 3600:.1f} h",
        "the same on one file in a hundred": f"{fitting / 6000:.1f} min",
        "pass that encodes, each machine its files": f"{encoding / 60:.1f} min",
        "gradients that a machine sends per step": f"{sent / 1e6:.2f} MB, {1000 * sent / options.network:.1f} ms",
        "a step of a machine alone": f"{1000 * working:.0f} ms",
        "waiting for each other per step": f"{1000 * waiting:.0f} ms",
        "queries per machine and step, for that to be a tenth": f"{9 * options.queries * waiting / working:,.0f}",
        "steps per epoch": f"{steps:,.0f}",
        "time of an epoch": f"{steps * (working + waiting) / 60:.1f} min",
        "the same on one machine": f"{training * machines / 3600:.1f} h",
        "embeddings that a machine receives per step, gathered negatives": f"{gathered / 1e6:,.0f} MB, "
        f"{1000 * gathered / options.network:.0f} ms",
        "a machine is lost every": f"{hours:.0f} h",
        "time lost by that": f"{lost / 60:.1f} min",
        "best interval of checkpoints": f"{interval:.0f} s",
        "memory of the offsets of a machine's queries": f"{16 * documents / DOCUMENTS / 1e6:.0f} MB",
    }


def main() -> None:
    """Measures, computes and prints two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=float, default=1e10)
    parser.add_argument("--machines", type=int, default=100)
    parser.add_argument("--cores", type=int, default=16, help="of each machine")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--reduce", type=float, default=2.4)
    parser.add_argument("--restart", type=float, default=60.0)
    parser.add_argument("--losses", type=float, default=0.001)
    parser.add_argument("--network", type=float, default=1.25e9)
    parser.add_argument("--rows", type=int, default=400_000, help="that are measured")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        here = measured(options.rows, Path(folder))
    facts = {
        "fit, documents per second": f"{here.fit:,.0f}",
        "encode, documents per second": f"{here.encode:,.0f}",
        "train, documents per second": f"{here.train:,.0f}",
        "bytes per document, Parquet / encoded": f"{here.file:.0f} / {here.encoded:.0f}",
        "parameters; bytes of a checkpoint": f"{here.parameters:,}; {here.checkpoint:,.0f}",
        "seconds to write it": f"{here.writing:.2f}",
    }
    for title, rows in ((f"here, on {here.cores} cores", facts), ("plan", plan(here, options))):
        print(f"| {title} | |\n|---|---|")
        print("\n".join(f"| {name} | {value} |" for name, value in rows.items()) + "\n")


if __name__ == "__main__":
    main()
