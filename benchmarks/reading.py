"""Rows per second of the readers of data files, on generated rows of queries with dense features.

    python benchmarks/reading.py                                        all formats, 20,000 rows of 136 features
    python benchmarks/reading.py --rows 200000 --formats svmlight csv   some of them

A row of the table is the median of all rounds; the formats of a round are read one after another, so that a busy
machine slows all of them. `FORMATS` is the registry: a format has a function that writes the file, and one that reads
it to the last cell and returns the number of rows.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
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
}


def times(folder: Path, formats: list[str], rounds: int) -> dict[str, list[float]]:
    """Seconds of each round for each format; the formats of a round are read one after another."""
    seconds: dict[str, list[float]] = {name: [] for name in formats}
    for _ in range(rounds):
        for name in formats:
            start = time.perf_counter()
            FORMATS[name].read(folder / f"rows{FORMATS[name].ending}")
            seconds[name].append(time.perf_counter() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--features", type=int, default=136)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    args = parser.parse_args()
    rows = make_rows(args.rows, args.features)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for name in args.formats:
            FORMATS[name].write(folder / f"rows{FORMATS[name].ending}", rows)
        seconds = times(folder, args.formats, args.rounds)
        print(f"{args.rows:,} rows of {args.features} features, median of {args.rounds} rounds\n")
        print("| format | MB | seconds | rows per second |\n|---|---:|---:|---:|")
        for name in args.formats:
            size = (folder / f"rows{FORMATS[name].ending}").stat().st_size / 1e6
            median = statistics.median(seconds[name])
            print(f"| {name} | {size:.0f} | {median:.3f} | {args.rows / median:,.0f} |")


if __name__ == "__main__":
    main()
