"""Documents per second of a training by the ways to distribute it, and what its processes send each other.

    python benchmarks/distribution.py                                   the strategies of TensorFlow
    python benchmarks/distribution.py --backends tensorflow jax torch   those of all backends, where they are installed
    python benchmarks/distribution.py --rounds 3 --json figures.json

One feature config is trained by the command line in every way, `--rounds` times in turn: by one process on one core and
on two, and by two processes or devices that share two cores. The processes run in a network of their own that has
nothing but the loopback interface (`unshare`), so that what is counted there is theirs. The global batch is the same in
all ways.

The table says, from the medians over all epochs but the first two:
* documents per second, and their ratio to one process on one core;
* the time of a step, and what of it is not computation: two processes, each with half a batch and a core, need at
  least the time of one process with half a batch on one core;
* bytes that each process sends per step, also per parameter of the model.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streaming import DOCUMENTS, write

INSIDE = "BENCHMARK_NETWORK"
FEATURES, UNITS = 136, (256, 128)
PARAMETERS = FEATURES * UNITS[0] + UNITS[0] + UNITS[0] * UNITS[1] + UNITS[1] + UNITS[1] + 1
WARM = 2  # epochs that do not count


@dataclass(frozen=True)
class Way:
    """A way to train.

    Attributes:
        name: what the table calls it.
        backend: the backend of Keras.
        distribution: `training.distribution`.
        cores: the cores that its processes may use together.
        processes: processes or devices.
        started: processes that are started here, each with its TF_CONFIG.
        share: the part of the batch that is trained on.
    """

    name: str
    backend: str
    distribution: str = "none"
    cores: int = 2
    processes: int = 1
    started: int = 1
    share: float = 1.0


def ways(backend: str) -> list[Way]:
    """The ways of a backend; the first is one process on one core, the second the same with half a batch."""
    found = [
        Way("one process, one core", backend, cores=1),
        Way("one process, one core, half a batch", backend, cores=1, share=0.5),
        Way("one process, two cores", backend),
    ]
    if backend == "tensorflow":
        found += [
            Way("mirrored, 2 parts of the CPU", backend, "{strategy: mirrored, devices: 2}", processes=2),
            Way("multi_worker, 2 processes", backend, "multi_worker", processes=2, started=2),
        ]
    elif backend == "jax":
        found.append(
            Way("data_parallel, 2 parts of the CPU", backend, "{strategy: data_parallel, devices: 2}", processes=2)
        )
    else:
        found.append(Way("data_parallel, 2 processes", backend, "{strategy: data_parallel, workers: 2}", processes=2))
    if backend != "jax":
        found.append(Way("ray, 2 processes", backend, "{strategy: ray, workers: 2}", processes=2))
    return found


def config(folder: Path, batch: int, epochs: int) -> dict[str, Any]:
    """A network over all features, trained on the file of a folder."""
    return {
        "data": {"directory": str(folder), "train": "train.parquet", "batch_size": batch, "bucketing": False},
        "features": {"inputs": [{"name": "f*", "type": "numeric", "transforms": ["standardise"]}]},
        "model": {"architecture": {"key": "dnn", "hidden_units": list(UNITS)}, "loss": "softmax_cross_entropy"},
        "training": {"epochs": epochs, "report": False, "checkpoint": {"every": None}},
    }


def measure(way: Way, folder: Path, run: Path, options: argparse.Namespace) -> tuple[list[float], float]:
    """Seconds of each epoch that counts, and bytes sent per epoch by all processes."""
    settings = config(folder, max(1, round(options.batch * way.share)), options.epochs)
    file = run.with_suffix(".yaml")
    file.write_text(json.dumps(settings))  # JSON is YAML
    command = [sys.executable, "-m", "ml4ir_losses.cli", "train", str(file), "--run-dir", str(run)]
    command += ["--set", f"training.distribution={way.distribution}"]
    environment = {**os.environ, "KERAS_BACKEND": way.backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment["RAY_worker_niceness"] = "0"  # Ray lets its processes give way to others
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), environment.get("PYTHONPATH", "")])
    if way.backend == "jax" and way.processes > 1:
        environment["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={way.processes}"
    addresses = [f"127.0.0.1:{port}" for port in free_ports(way.started)]
    processes = []
    for rank in range(way.started):
        if way.started > 1:
            task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
            environment = {**environment, "TF_CONFIG": json.dumps(task)}
        log = run.with_suffix(f".{rank}.log").open("w")
        processes.append(
            subprocess.Popen(
                ["taskset", "-c", f"0-{way.cores - 1}", *command],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        )
    sent = [(0, sent_bytes())]
    while any(process.poll() is None for process in processes):
        if (epoch := len(epoch_times(run))) > sent[-1][0]:
            sent.append((epoch, sent_bytes()))
        if any(process.poll() for process in processes):
            for process in processes:
                process.kill()
        time.sleep(0.01)
    if any(process.returncode for process in processes):
        raise SystemExit(f"{way.name} failed: {run.with_suffix('.0.log').read_text()[-2000:]}")
    marks = [mark for mark in sent if mark[0] >= WARM]
    (first, before), (last, after) = marks[0], marks[-1]
    return epoch_times(run)[WARM:], (after - before) / max(1, last - first)


def epoch_times(run: Path) -> list[float]:
    """Seconds of the epochs that are done."""
    try:
        with (run / "times.csv").open() as file:
            return [float(row["seconds"]) for row in csv.DictReader(file)]
    except FileNotFoundError:
        return []


def sent_bytes() -> int:
    """What was sent through the loopback interface; 0 outside a network of its own."""
    lines = Path("/proc/net/dev").read_text().splitlines() if os.environ.get(INSIDE) else []
    return next((int(line.split(":")[1].split()[8]) for line in lines if line.strip().startswith("lo:")), 0)


def free_ports(number: int) -> list[int]:
    """Free ports of this machine."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def rows_of(backend: str, options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """The measured figures of each way of a backend."""
    known = ways(backend)
    seconds: dict[Way, list[float]] = {way: [] for way in known}
    sent: dict[Way, list[float]] = {way: [] for way in known}
    for number in range(options.rounds):
        for way in known if number % 2 == 0 else reversed(known):
            run = folder / f"{backend}-{known.index(way)}-{number}"
            times, moved = measure(way, folder, run, options)
            seconds[way] += times
            sent[way].append(moved)
            print(f"{backend}: {way.name}: {statistics.median(times):.3f} s per epoch", file=sys.stderr, flush=True)
    queries = max(1, options.rows // DOCUMENTS)
    epoch = {way: statistics.median(times) for way, times in seconds.items()}
    rows = []
    for way in known:
        steps = -(-queries // max(1, round(options.batch * way.share)))
        row = {
            "backend": backend,
            "way": way.name,
            "documents per second": options.rows / epoch[way],
            "ratio": epoch[known[0]] / epoch[way],
            "ms per step": 1000 * epoch[way] / steps,
        }
        if way.processes > 1:
            half = 1000 * epoch[known[1]] / -(-queries // max(1, round(options.batch * 0.5)))
            row["ms beside computation"] = row["ms per step"] - half
            row["bytes per step and process"] = statistics.median(sent[way]) / steps / way.processes
        rows.append(row)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The figures as a table in Markdown."""
    lines = [
        "| backend | way | documents per second | ratio | ms per step | beside computation | bytes sent per step and "
        "process | per parameter |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        beside, moved = row.get("ms beside computation"), row.get("bytes per step and process")
        cells = [
            row["backend"],
            row["way"],
            f"{row['documents per second']:,.0f}",
            f"{row['ratio']:.2f}",
            f"{row['ms per step']:.1f}",
            "" if beside is None else f"{beside:.1f} ms",
            "" if not moved else f"{moved:,.0f}",
            "" if not moved else f"{moved / PARAMETERS:.1f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Writes the data, measures every way and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", nargs="+", default=["tensorflow"], choices=("tensorflow", "jax", "torch"))
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--batch", type=int, default=64, help="queries of the global batch")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path, help="where the figures are written")
    options = parser.parse_args()
    if not os.environ.get(INSIDE):
        network = ["unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable, *sys.argv]
        sys.exit(subprocess.run(network, env={**os.environ, INSIDE: "1"}).returncode)
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        write(folder / "train.parquet", options.rows, FEATURES, 0, False)
        rows = [row for backend in options.backends for row in rows_of(backend, options, folder)]
    print(table(rows))
    if options.json is not None:
        options.json.write_text(json.dumps({"parameters": PARAMETERS, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
