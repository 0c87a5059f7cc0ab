"""Memory and time of evaluating a large TREC run file.

    python benchmarks/run_files.py --queries 100000 --documents 100

generates a run and qrels in a temporary folder, evaluates them in a process of its own, and prints that process's peak
memory above that of one which only imports the library and evaluates two queries. `--shuffle` writes the run's lines in
random order, so that they are sorted on disk first.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

_MEASURE = """
import json, resource, sys, time
from ml4ir_losses.evaluation.run_files import evaluate_run_file
start = time.perf_counter()
evaluation = evaluate_run_file(sys.argv[1], sys.argv[2])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"mib": peak, "seconds": time.perf_counter() - start, "metrics": evaluation.metrics}))
"""


def write_files(folder: Path, queries: int, documents: int, shuffle: bool = False, seed: int = 0) -> tuple[Path, Path]:
    """A run and its qrels; all documents are judged, with grades 0 to 3."""
    rng = np.random.default_rng(seed)
    run, qrels = folder / f"run-{queries}.txt", folder / f"qrels-{queries}.txt"
    with run.open("w") as ranked, qrels.open("w") as judged:
        for query in range(queries):
            grades = rng.integers(0, 4, documents)
            scores = np.sort(grades + 2 * rng.standard_normal(documents))[::-1]
            names = [f"D{query}-{d}" for d in range(documents)]
            judged.writelines(f"{query} 0 {name} {grade}\n" for name, grade in zip(names, grades, strict=True))
            ranked.writelines(
                f"{query} Q0 {name} {rank} {score:.6f} bench\n"
                for rank, (name, score) in enumerate(zip(names, scores, strict=True), start=1)
            )
    if shuffle:
        lines = run.read_bytes().splitlines(keepends=True)
        run.write_bytes(b"".join(lines[i] for i in rng.permutation(len(lines))))
    return run, qrels


def measure(run: Path, qrels: Path) -> dict[str, float]:
    """Peak memory and time of an evaluation in a process of its own."""
    done = subprocess.run([sys.executable, "-c", _MEASURE, run, qrels], check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=100_000)
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--shuffle", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        few = measure(*write_files(Path(folder), 2, arguments.documents))
        run, qrels = write_files(Path(folder), arguments.queries, arguments.documents, arguments.shuffle)
        size = (run.stat().st_size + qrels.stat().st_size) / 2**20
        print(f"{arguments.queries:,} x {arguments.documents} documents, {size:,.0f} MiB of files", end="")
        print(f" (generated in {time.perf_counter() - start:.0f} s)")
        all_queries = measure(run, qrels)
    print(f"import and two queries: {few['mib']:,.0f} MiB, {few['seconds']:.1f} s")
    print(
        f"all: {all_queries['mib']:,.0f} MiB ({all_queries['mib'] - few['mib']:+,.0f}), {all_queries['seconds']:.1f} s"
    )


if __name__ == "__main__":
    main()
