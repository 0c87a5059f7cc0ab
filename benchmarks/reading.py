"""Rows per second of the readers of data files, on generated rows of queries with dense features.

    python benchmarks/reading.py                                        all formats, 20,000 rows of 136 features
    python benchmarks/reading.py --rows 200000 --formats svmlight csv   some of them
    python benchmarks/reading.py --peers tfr allrank                    beside TF-Ranking's reader and allRank's

A row of the table is the median of all rounds; the formats of a round are read one after another, so that a busy
machine slows all of them. `FORMATS` is the registry: a format has a function that writes the file, and one that reads
it to the last cell and returns the number of rows.

TF-Ranking reads the file of ExampleListWithContext, allRank the svmlight file, each in a process of its own in the
environment of `make bench`, or with `--python tfr=/path/to/python`. Both end with padded batches, ours with float32
matrices [rows, features]. A ratio is the median of the ratios of all rounds.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.feather as feather
import pyarrow.parquet as pq


class Rows(NamedTuple):
    """Labels [rows], query ids [rows] and features [rows, F]."""

    labels: np.ndarray
    queries: np.ndarray
    features: np.ndarray

    def table(self) -> pa.Table:
        """The rows as an Arrow table with the columns label, qid, f1, ..., fF."""
        columns = {f"f{i}": column for i, column in enumerate(self.features.T, 1)}
        return pa.table({"label": self.labels, "qid": self.queries, **columns})


class Format(NamedTuple):
    """A format: the ending of its file, the function that writes rows to a path, and the one that reads a path."""

    ending: str
    write: Callable[[Path, Rows], None]
    read: Callable[[Path], int]


class Peer:
    """Another library's reader, in a process that answers each line of its input with the seconds of one reading."""

    def __init__(self, library: str, path: Path, python: str | None) -> None:
        here = Path(__file__).parent
        python = python or str(here.parent / f".venv-{ENVIRONMENTS[library]}" / "bin" / "python")
        variables = {**os.environ, "PYTHONPATH": "", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
        self.process = subprocess.Popen(
            [python, "-B", here / "reading_worker.py", library, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=variables,
        )

    def seconds(self, rows: int) -> float:
        """Seconds of reading the file, which has that many rows."""
        print(file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline())
        if answer["rows"] != rows:
            sys.exit(f"{self.process.args}: read {answer['rows']} rows of {rows}.")
        return float(answer["seconds"])


ENVIRONMENTS = {"tfr": "bench-tfr", "allrank": "bench-torch"}
PEER_FILES = {"tfr": "elwc", "allrank": "svmlight"}
PEER_NAMES = {"tfr": "TF-Ranking", "allrank": "allRank"}


def make_rows(count: int, features: int) -> Rows:
    """Rows of 100 documents per query; a third of the features are whole numbers, as counts of words are."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(count, features)).round(6)
    values[:, ::3] = rng.integers(0, 1000, values[:, ::3].shape)
    return Rows(rng.integers(0, 5, count), np.arange(count) // 100, values.astype(np.float32))


def write_svmlight(path: Path, rows: Rows) -> None:
    """Lines `label qid:7 1:0.5 2:3 ...`."""
    form = " ".join(f"{i}:%.7g" for i in range(1, rows.features.shape[1] + 1))
    with path.open("w") as stream:
        for label, query, features in zip(rows.labels, rows.queries, rows.features, strict=True):
            stream.write(f"{label} qid:{query} {form % tuple(features.tolist())}\n")


def write_jsonl(path: Path, rows: Rows) -> None:
    """A document per line."""
    with path.open("w") as stream:
        for row in rows.table().to_pylist():
            stream.write(json.dumps(row) + "\n")


def write_svmlight_gz(path: Path, rows: Rows) -> None:
    """The svmlight file, compressed."""
    plain = path.with_suffix("")
    write_svmlight(plain, rows)
    path.write_bytes(gzip.compress(plain.read_bytes(), 6))


def write_tfrecord(kind: str) -> Callable[[Path, Rows], None]:
    """Writes TFRecord files of that kind."""

    def write(path: Path, rows: Rows) -> None:
        from ml4ir_losses.data.memory import memory_table
        from ml4ir_losses.data.writers import write_chunks
        from ml4ir_losses.data.writers.base import WriterRoles

        write_chunks(path, [memory_table(rows.table())], roles=WriterRoles(query_id="qid"), kind=kind)

    return write


def read_ours(path: Path) -> int:
    """Reads the chunks of a file; every feature is read as a number, as training does."""
    from ml4ir_losses.data.readers import read_chunks

    count = 0
    for chunk in read_chunks(str(path)):
        count += len(chunk)
        chunk.matrix([name for name in chunk.names if name.startswith("f")])
    return count


FORMATS: dict[str, Format] = {
    "svmlight": Format(".svmlight", write_svmlight, read_ours),
    "svmlight.gz": Format(".svmlight.gz", write_svmlight_gz, read_ours),
    "csv": Format(".csv", lambda path, rows: pacsv.write_csv(rows.table(), path), read_ours),
    "parquet": Format(".parquet", lambda path, rows: pq.write_table(rows.table(), path), read_ours),
    "arrow": Format(".feather", lambda path, rows: feather.write_feather(rows.table(), path), read_ours),
    "jsonl": Format(".jsonl", write_jsonl, read_ours),
    "elwc": Format(".elwc.tfrecord", write_tfrecord("elwc"), read_ours),
    "sequence_example": Format(".sequence.tfrecord", write_tfrecord("sequence_example"), read_ours),
}


def times(
    folder: Path, formats: list[str], rounds: int, rows: int, peers: dict[str, str | None]
) -> dict[str, list[float]]:
    """Seconds of each round for each format and peer; those of a round are read one after another.

    A round that is not measured comes first.
    """
    files = {name: folder / f"rows{FORMATS[name].ending}" for name in FORMATS}
    processes = {name: Peer(name, files[PEER_FILES[name]], python) for name, python in peers.items()}
    seconds: dict[str, list[float]] = {name: [] for name in [*formats, *peers]}
    for measured in range(-1, rounds):
        for name in formats:
            start = time.perf_counter()
            FORMATS[name].read(files[name])
            seconds[name].append(time.perf_counter() - start)
        for name, process in processes.items():
            seconds[name].append(process.seconds(rows))
        if measured < 0:
            seconds = {name: [] for name in seconds}
    for process in processes.values():
        process.process.kill()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--features", type=int, default=136)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--peers", nargs="*", choices=ENVIRONMENTS, default=[])
    parser.add_argument("--python", nargs="+", default=[], metavar="LIBRARY=PYTHON")
    args = parser.parse_args()
    interpreters = dict(given.split("=", 1) for given in args.python)
    peers = {peer: interpreters.get(peer) for peer in args.peers}
    rows = make_rows(args.rows, args.features)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for name in dict.fromkeys([*args.formats, *(PEER_FILES[peer] for peer in args.peers)]):
            FORMATS[name].write(folder / f"rows{FORMATS[name].ending}", rows)
        seconds = times(folder, args.formats, args.rounds, args.rows, peers)
        sizes = {
            name: (folder / f"rows{FORMATS[PEER_FILES.get(name, name)].ending}").stat().st_size for name in seconds
        }
    print(f"{args.rows:,} rows of {args.features} features, median of {args.rounds} rounds\n")
    columns = ["format", "MB", "seconds", "rows per second", *(f"times {PEER_NAMES[peer]}" for peer in args.peers)]
    print(f"| {' | '.join(columns)} |\n|---|{'---:|' * (len(columns) - 1)}")
    for name, own in seconds.items():
        label = f"{PEER_NAMES[name]}, {PEER_FILES[name]}" if name in args.peers else name
        ratios = [
            statistics.median(theirs / ours for theirs, ours in zip(seconds[peer], own, strict=True))
            for peer in args.peers
        ]
        median = statistics.median(own)
        cells = [label, f"{sizes[name] / 1e6:.0f}", f"{median:.3f}", f"{args.rows / median:,.0f}"]
        print(f"| {' | '.join([*cells, *(f'{ratio:.1f}' for ratio in ratios)])} |")


if __name__ == "__main__":
    main()
