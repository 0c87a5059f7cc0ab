"""Time and memory of every loss beside the same loss in other libraries; prints the tables of RESULTS.md.

    make bench                                       all of it: builds the environments of the libraries first
    python benchmarks/bench.py --losses lambda_loss approx_ndcg --shapes 32x1000 --libraries ours tfr
    python benchmarks/bench.py --python tfr=/path/to/python ...

Each library is a process that lives through the run. In a cell (a loss at a shape) every library gets the same
arrays, compiles and warms up; then the libraries take turns, one repetition each, and the median counts. Where a
library can compile with XLA as well, the faster of both counts. Memory has a process for each number. Finished cells
are kept in `.bench-cache.json`, so that a run that was stopped goes on; `--again` measures them again.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import select
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NoReturn

from cases import BY_NAME, CASES, LIBRARIES, MEMORY, OURS, SHAPES, Case
from report import report

HERE = Path(__file__).parent
CACHE = HERE / ".bench-cache.json"
ENVIRONMENTS = {
    "tfr": "bench-tfr",
    "krs": "bench-krs",
    "rax": "bench-rax",
    "st": "bench-torch",
    "allrank": "bench-torch",
    "plain_torch": "bench-torch",
}
BACKENDS = {"ours-jax": "jax", "ours-torch": "torch"}
SECONDS_BETWEEN_CHECKS = 0.2  # of memory and time


class LostError(Exception):
    """A process did not answer; the message says why."""


class Worker:
    """A process of `worker.py`, with limits of memory and time."""

    def __init__(self, library: str, options: argparse.Namespace, *arguments: str) -> None:
        self.limit_gib, self.timeout = options.limit_gib, options.timeout
        default = HERE.parent / f".venv-{ENVIRONMENTS.get(library, 'backends')}" / "bin" / "python"
        python = str(options.python.get("ours" if library in (*OURS, "plain_keras") else library, default))
        self.log = tempfile.TemporaryFile()  # noqa: SIM115, open as long as the process
        variables = {
            **os.environ,
            "KERAS_BACKEND": BACKENDS.get(library, "tensorflow"),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "PYTHONPATH": str(HERE.parent) if library in OURS else "",
            "CUDA_VISIBLE_DEVICES": "-1",
            "JAX_PLATFORMS": "cpu",
        }
        command = [python, "-B", str(HERE / "worker.py"), library, *arguments]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.log}
        try:
            self.process = subprocess.Popen(command, bufsize=0, env=variables, **pipes)
        except OSError as error:
            raise LostError(f"{python}: {error.strerror}") from error

    def ask(self, **request: Any) -> dict[str, Any]:
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")  # type: ignore[union-attr]
        except BrokenPipeError:
            self._lose(self._last_words())
        return self.answer()

    def answer(self) -> dict[str, Any]:
        deadline = time.monotonic() + self.timeout
        answers: Any = self.process.stdout
        while not select.select([answers], [], [], SECONDS_BETWEEN_CHECKS)[0]:
            if self._resident_gib() > self.limit_gib:
                self._lose(f"more than {self.limit_gib:.0f} GiB")
            if time.monotonic() > deadline:
                self._lose(f"more than {self.timeout:.0f} s")
        line = answers.readline()
        return dict(json.loads(line)) if line else self._lose(self._last_words())

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def _lose(self, why: str) -> NoReturn:
        self.stop()
        raise LostError(why)

    def _last_words(self) -> str:
        code = self.process.wait()
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").strip().splitlines()
        return f"the process ended with {code}: {lines[-1] if lines else ''}"[:200]

    def _resident_gib(self) -> float:
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:  # it has ended
            return 0.0
        found = re.search(r"VmRSS:\s+(\d+)", status)
        return int(found[1]) / 1024**2 if found else 0.0


class Bench:
    """A run: the processes of the libraries, and the cells measured so far."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.workers: dict[str, Worker] = {}
        self.known: dict[str, Any] = {"libraries": {}, "times": {}, "memory": {}}
        if CACHE.exists() and not options.again:
            self.known = json.loads(CACHE.read_text())

    def ask(self, library: str, **request: Any) -> dict[str, Any]:
        """The answer of a library; `error` says what went wrong."""
        try:
            if library not in self.workers:
                self.workers[library] = Worker(library, self.options)
                self.known["libraries"][library] = self.workers[library].ask(do="versions")
            return self.workers[library].ask(**request)
        except LostError as error:
            self.workers.pop(library, None)
            return {"error": str(error)}

    def modes(self, library: str) -> list[str]:
        if library not in self.known["libraries"]:
            self.ask(library, do="versions")
        return list(self.known["libraries"].get(library, {}).get("modes", ["does not start"]))

    def time(self, case: Case, shape: str, libraries: list[str]) -> dict[str, Any]:
        """The time of every library in a cell, or why it has none."""
        cell: dict[str, Any] = {}
        for library in libraries:
            modes = self.modes(library)
            cell[library] = self.ask(library, do="prepare", case=case.name, shape=shape, modes=modes)
            if "error" in cell[library] and library not in self.workers and len(modes) > 1:  # a mode ended the process
                prepared = {
                    mode: self.ask(library, do="prepare", case=case.name, shape=shape, modes=[mode]) for mode in modes
                }
                modes = [mode for mode, answer in prepared.items() if "error" not in answer] or modes[:1]
                cell[library] = self.ask(library, do="prepare", case=case.name, shape=shape, modes=modes)
        repetitions: dict[str, list[float]] = {library: [] for library in libraries if "error" not in cell[library]}
        most = {
            library: max(3, min(self.options.repeats, int(self.options.budget / cell[library]["seconds"])))
            for library in repetitions
        }
        for turn in range(self.options.repeats):
            for library in [*libraries[turn % len(libraries) :], *libraries[: turn % len(libraries)]]:
                if turn < most.get(library, 0) and "error" not in cell[library]:
                    answer = self.ask(library, do="time")
                    repetitions[library] += [answer["seconds"]] if "seconds" in answer else []
                    cell[library] |= {"error": answer["error"]} if "error" in answer else {}
        for library, seconds in repetitions.items():
            if "error" not in cell[library]:
                cell[library] |= {"seconds": statistics.median(seconds), "repetitions": len(seconds)}
        return cell

    def memory(self, case: Case, shape: str, libraries: list[str]) -> dict[str, Any]:
        """The memory of every library in a cell, in its leanest mode."""
        cell: dict[str, Any] = {}
        for library in libraries:
            for mode in self.modes(library):
                try:
                    worker = Worker(library, self.options, "--memory", case.name, shape, mode)
                    found = worker.answer()
                    worker.stop()
                except LostError as error:
                    found = {"error": str(error)}
                least = cell.setdefault(library, found)
                if found.get("mebibytes", float("inf")) < least.get("mebibytes", float("inf")):
                    cell[library] = found
        return cell

    def run(self, cases: list[Case], what: str) -> None:
        """Measures `times` or `memory` in the cells that are not known."""
        measure = {"times": self.time, "memory": self.memory}[what]
        for shape in self.options.shapes:
            for case in cases:
                libraries = [name for name in self.options.libraries if case.is_measured(name, shape)]
                if not libraries or (what == "memory" and not (shape in MEMORY and _large(case))):
                    continue
                known = self.known[what].setdefault(f"{case.name}|{shape}", {})
                if missing := [name for name in libraries if name not in known]:
                    known |= measure(case, shape, missing if what == "memory" else libraries)
                    CACHE.write_text(json.dumps(self.known, indent=1))
                    print(f"{what} of {case.name} at {shape}: {json.dumps(known)}", file=sys.stderr, flush=True)
        for worker in self.workers.values():
            worker.stop()
        self.workers.clear()


def _large(case: Case) -> bool:
    return case.pairs or case.kind in ("embeddings", "texts")


def _interpreter(text: str) -> tuple[str, str]:
    library, _, python = text.partition("=")
    if not python or library not in LIBRARIES:
        raise argparse.ArgumentTypeError(f"LIBRARY=PYTHON with one of {', '.join(LIBRARIES)}. Received: {text}")
    return library, python


def _options() -> argparse.Namespace:
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    shapes = [shape for group in SHAPES.values() for shape in group]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--losses", nargs="+", metavar="LOSS", help="whole names of rows, or parts of names; default: all rows")
    add("--shapes", nargs="+", choices=shapes, default=shapes)
    add("--libraries", nargs="+", choices=LIBRARIES, default=list(LIBRARIES))
    add("--repeats", type=int, default=15, help="repetitions of each library in a cell")
    add("--budget", type=float, default=10, help="seconds of a library in a cell, after three repetitions")
    add("--timeout", type=float, default=120, help="seconds after which a library is given up in a cell")
    add("--limit-gib", type=float, default=round(0.6 * physical), help="memory at which a process is given up")
    add("--no-memory", action="store_true")
    add("--again", action="store_true", help="measure again what an earlier run has measured")
    add("--python", type=_interpreter, nargs="+", action="extend", default=[], metavar="LIBRARY=PYTHON")
    options = parser.parse_args()
    options.python = dict(options.python)
    return options


def main() -> None:
    options = _options()
    words = options.losses or [""]
    cases = [case for case in CASES if any(case.name == w if w in BY_NAME else w in case.name for w in words)]
    if not cases:
        sys.exit(f"No loss is called {' or '.join(words)}. There are: {'; '.join(BY_NAME)}.")
    bench = Bench(options)
    bench.run(cases, "times")
    if not options.no_memory:
        bench.run(cases, "memory")
    print(report(bench.known))


if __name__ == "__main__":
    main()
