"""A plan for a training on many machines, from what one of its processes does on this machine.

    python benchmarks/plan.py                                     100 machines, 10 billion documents
    python benchmarks/plan.py --machines 8 --documents 2e8 --cores 32

Measured here, on the cores of this machine, with rows of 136 features and a network of 256 and 128 units: the pass that
fits the features, the pass that encodes them, the bytes of a document in Parquet and encoded, the documents per second of
a streamed epoch, the size of a checkpoint and the time to write one. The rest is arithmetic, given the options:

    --beside    milliseconds of a step that two processes spend on each other (`benchmarks/distribution.py`)
    --restart   seconds from the loss of a process to the next step (`log.txt` of a run on Ray)
    --losses    lost machines per machine and hour
    --network   bytes per second that a machine can send
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from streaming import DOCUMENTS, config, write

FEATURES = 136
WINDOW = "60MB"  # of memory, so that the rows are streamed


def measured(rows: int) -> dict[str, float]:
    """What this machine does, in documents per second of all of its cores, bytes and seconds."""
    from ml4ir_losses.config.load import load_config
    from ml4ir_losses.data.batching import list_dataset
    from ml4ir_losses.experiments.checkpoints.callback import Checkpoints
    from ml4ir_losses.experiments.feature_data import fit_training_split, read_features
    from ml4ir_losses.experiments.feature_experiment import FeatureExperiment
    from ml4ir_losses.experiments.fit import fit

    options = argparse.Namespace(memory=WINDOW, epochs=1)
    seconds: dict[str, float] = {}

    def timed(name: str, run: Any) -> Any:
        started = time.perf_counter()
        result = run()
        seconds[name] = time.perf_counter() - started
        return result

    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        file = folder / "train.parquet"
        write(file, rows, FEATURES, 0, False)
        raw = config(folder, options)
        del raw["data"]["validation"]
        raw["training"]["checkpoint"] = {"every": "1 epoch"}
        checked = load_config(raw)
        inputs, *_ = timed("fit", lambda: fit_training_split(checked))
        data = timed("encode", lambda: read_features(checked, inputs))
        experiment = FeatureExperiment.prepare(checked, data)
        encoded = sum(path.stat().st_size for path in (folder / "cache").rglob("*") if path.is_file())
        experiment.model.fit(list_dataset(experiment.plan("train")).take(3), verbose=0)  # traces the step
        timed("train", lambda: experiment.model.fit(list_dataset(experiment.plan("train")), verbose=0))
        checkpoints = Checkpoints(folder / "checkpoints", checked.training.checkpoint)
        started = time.perf_counter()
        fit(experiment, checkpoints=checkpoints)
        seconds["checkpoint"] = time.perf_counter() - started - seconds["train"]
        (last,) = (folder / "checkpoints").iterdir()
        found = {name: rows / seconds[name] for name in ("fit", "encode", "train")}
        return found | {
            "cores": len(os.sched_getaffinity(0)),
            "file": file.stat().st_size / rows,
            "encoded": encoded / rows,
            "parameters": experiment.model.count_params(),
            "checkpoint": last.stat().st_size,
        }


def main() -> None:
    """Measures, computes and prints the plan."""
    logging.basicConfig(level=logging.WARNING)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=float, default=1e10)
    parser.add_argument("--machines", type=int, default=100)
    parser.add_argument("--cores", type=int, default=16, help="of each machine")
    parser.add_argument("--beside", type=float, default=10.0)
    parser.add_argument("--restart", type=float, default=60.0)
    parser.add_argument("--losses", type=float, default=0.001)
    parser.add_argument("--network", type=float, default=1.25e9)
    parser.add_argument("--rows", type=int, default=400_000, help="that are measured")
    options = parser.parse_args()
    here = measured(options.rows)
    print(json.dumps(here, indent=2))
    machines, share = options.machines, options.documents / options.machines
    scale = options.cores / here["cores"]
    hops = 2 * (machines - 1)
    step = options.beside / 2 * hops / 1000  # a ring of two processes has two hops
    sent = 2 * (machines - 1) / machines * 4 * here["parameters"]
    batch = 10 * step * here["train"] * scale / DOCUMENTS
    compute = share / (here["train"] * scale)
    lost = machines * options.losses
    lines = {
        "Parquet, of all / of a machine": f"{options.documents * here['file'] / 1e12:.1f} TB / {share * here['file'] / 1e9:.0f} GB",
        "encoded, on the disk of each machine": f"{share * here['encoded'] / 1e9:.0f} GB",
        "fit the features, by the chief alone": f"{options.documents / (here['fit'] * scale) / 3600:.1f} h",
        "the same on one file in a hundred": f"{options.documents / 100 / (here['fit'] * scale) / 60:.1f} min",
        "encode, each machine its files": f"{share / (here['encode'] * scale) / 60:.1f} min",
        "gradients that a machine sends per step": f"{sent / 1e6:.2f} MB, {1000 * sent / options.network:.1f} ms",
        "waiting for each other, per step": f"{step:.2f} s",
        "queries per machine and step, so that this is a tenth": f"{batch:,.0f}",
        "steps of an epoch": f"{share / DOCUMENTS / batch:,.0f}",
        "an epoch": f"{1.1 * compute / 60:.1f} min",
        "a machine is lost every": f"{1 / lost:.0f} h",
        "lost by it: half of 5 minutes, the restart, encoding anew": f"{2.5 + options.restart / 60 + share / (here['encode'] * scale) / 60:.1f} min",
        "interval of checkpoints after Young": f"{math.sqrt(2 * 3600 / lost * max(0.01, here['checkpoint'] / 100e6)):.0f} s",
        "memory of the offsets of a machine's queries": f"{16 * share / DOCUMENTS / 1e6:.0f} MB",
    }
    for name, value in lines.items():
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
