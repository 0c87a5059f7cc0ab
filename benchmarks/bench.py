"""Time and memory of value and gradient of every loss that a peer has too, libraries in turn; writes RESULTS.md.

    make bench                                       all of it: builds the peers' environments first
    python benchmarks/bench.py --losses lambda_loss approx_ndcg --shapes 32x1000 --peers ours tfr --no-memory
    python benchmarks/bench.py --python tfr=/path/to/python ...

Each library is a process that lives through the run. In a cell (a loss at a shape) every library gets the same
arrays, compiles and warms up; then they take turns, one repetition each, and the median counts. What has several
modes (a graph, XLA) keeps the fastest. Memory is measured in a process per cell and library.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench_cases import BY_NAME, CASES, COMPARED, EMBEDDINGS, LISTS, OURS, PEERS, SHAPES, Case
from bench_process import HERE, LostError, Worker
from bench_report import report

ENVIRONMENTS = {
    "tfr": "bench-tfr",
    "krs": "bench-krs",
    "rax": "bench-rax",
    "st": "bench-torch",
    "allrank": "bench-torch",
}
FEWEST = 3
TIMED = [shape for shape in SHAPES if shape not in ("tiny", "small")]


class Bench:
    """The run: its processes, and what is known so far."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.workers: dict[str, Worker] = {}
        self.cache = Path(options.cache)
        self.known: dict[str, Any] = {"libraries": {}, "times": {}, "memory": {}}
        if options.resume and self.cache.exists():
            self.known = json.loads(self.cache.read_text())

    def python(self, peer: str) -> str:
        given = self.options.python.get("ours" if peer in OURS else peer)
        return given or str(HERE.parent / f".venv-{ENVIRONMENTS.get(peer, 'backends')}" / "bin" / "python")

    def worker(self, peer: str) -> Worker:
        """The process of a library, a new one if the last was lost."""
        if peer not in self.workers:
            self.workers[peer] = self.started(peer)
            answer = self.workers[peer].ask(120, do="versions")
            self.known["libraries"][peer] = answer
        return self.workers[peer]

    def started(self, peer: str, *arguments: str) -> Worker:
        return Worker(peer, self.python(peer), self.options.limit_gib, arguments)

    def ask(self, peer: str, **request: Any) -> dict[str, Any]:
        """The answer of a library; what went wrong is `error`."""
        timeout: float = self.options.timeout
        try:
            return self.worker(peer).ask(timeout, **request)
        except LostError as error:
            self.workers.pop(peer, None)
            return {"error": str(error)}

    def stop(self) -> None:
        for worker in self.workers.values():
            worker.stop()
        self.workers.clear()

    def save(self) -> None:
        part = self.cache.with_suffix(".part")
        part.write_text(json.dumps(self.known, indent=1))
        os.replace(part, self.cache)

    def time(self, case: Case, shape: str) -> dict[str, Any]:
        """Every library's time of a cell, or why it has none."""
        cell: dict[str, Any] = {}
        for peer in self.peers(case):
            cell[peer] = self.prepare(peer, case, shape)
        turns = self.repetitions({peer: entry["guess"] for peer, entry in cell.items() if "guess" in entry})
        for turn in range(max(turns.values(), default=0)):
            for peer in _rotated([peer for peer in turns if turn < turns[peer]], turn):
                entry = cell[peer]
                if "why" in entry:
                    continue
                answer = self.ask(peer, do="time")
                if "error" in answer:
                    entry["why"] = answer["error"]
                else:
                    entry["all"].append(answer["seconds"])
        for peer, entry in cell.items():
            if peer in self.workers:
                self.ask(peer, do="keep", mode=None)
            if entry.get("all") and "why" not in entry:
                entry["seconds"], entry["repeats"] = statistics.median(entry["all"]), len(entry["all"])
        return cell

    def peers(self, case: Case) -> list[str]:
        return [peer for peer in self.options.peers if case.spec(peer)]

    def prepare(self, peer: str, case: Case, shape: str) -> dict[str, Any]:
        """Compiles and warms up each mode of a library, and keeps the fastest."""
        try:
            self.worker(peer)
        except LostError as error:
            self.workers.pop(peer, None)
            return {"why": f"did not start: {error}"}
        modes, failed = {}, {}
        for mode in self.known["libraries"][peer]["modes"]:
            answer = self.ask(peer, do="prepare", case=case.name, shape=shape, mode=mode)
            if "error" in answer:
                failed[mode] = answer["error"]
            else:
                modes[mode] = answer
        if not modes:
            return {"why": "; ".join(f"{mode}: {why}" if len(failed) > 1 else why for mode, why in failed.items())}
        best = min(modes, key=lambda mode: modes[mode]["seconds"])
        if peer not in self.workers:  # a mode took the process with it
            again = self.ask(peer, do="prepare", case=case.name, shape=shape, mode=best)
            if "error" in again:
                return {"why": again["error"]}
        self.ask(peer, do="keep", mode=best)
        return {"mode": best, "guess": modes[best]["seconds"], "modes": modes, "failed": failed, "all": []}

    def repetitions(self, seconds: dict[str, float]) -> dict[str, int]:
        """`--repeats`; fewer where they would take longer than the budget, which is small for what is far behind."""
        best = min((value for peer, value in seconds.items() if peer in COMPARED), default=0.0)
        most: int = self.options.repeats
        turns = {}
        for peer, value in seconds.items():
            close = peer == "ours" or value < 2 * best
            budget = self.options.budget if close else self.options.budget / 5
            turns[peer] = max(min(FEWEST, most), min(most, int(budget / value)))
        return turns

    def measure(self, peer: str, case: Case, shape: str) -> dict[str, Any]:
        """The least memory among the modes of a library, or why there is none."""
        found, failed = {}, {}
        for mode in self.known["libraries"][peer]["modes"]:
            worker = self.started(peer, "--memory", case.name, shape, mode)
            try:
                found[mode] = worker.wait(self.options.timeout)
            except LostError as error:
                failed[mode] = str(error)
            worker.stop()
        if not found:
            return {"why": "; ".join(failed.values())}
        best = min(found, key=lambda mode: found[mode]["step"])
        return {"mode": best, "modes": found, "failed": failed, **found[best]}


def _rotated(peers: list[str], turn: int) -> list[str]:
    start = turn % len(peers) if peers else 0
    return peers[start:] + peers[:start]


def run_times(bench: Bench, cases: list[Case], shapes: Iterable[str]) -> None:
    cells = [(case, shape) for shape in shapes for case in cases if shape in case.shapes]
    for i, (case, shape) in enumerate(cells, 1):
        name = f"{case.name}|{shape}"
        if bench.options.resume and set(bench.peers(case)) <= set(bench.known["times"].get(name, ())):
            continue
        cell = bench.time(case, shape)
        bench.known["times"][name] = cell
        bench.save()
        shown = (f"{peer} {_milliseconds(entry)}" for peer, entry in cell.items())
        _say(f"[{i}/{len(cells)}] {case.name} {shape}: {', '.join(shown)}")


def _milliseconds(entry: dict[str, Any]) -> str:
    return f"{entry['seconds'] * 1e3:.3g} ms ({entry['mode']})" if "seconds" in entry else f"– ({entry['why']})"


def run_memory(bench: Bench, cases: list[Case], shapes: Iterable[str]) -> None:
    """At the last shape of lists for all libraries, at the others for ours on TensorFlow: they give its growth."""
    lists = list(shapes)
    for shape in (*lists, *EMBEDDINGS):
        for case in (case for case in cases if shape in case.shapes):
            for peer in ("ours",) if shape in lists[:-1] else bench.peers(case):
                name = f"{case.name}|{shape}"
                entries = bench.known["memory"].setdefault(name, {})
                if (bench.options.resume and peer in entries) or peer not in bench.options.peers:
                    continue
                if peer not in bench.known["libraries"]:
                    bench.ask(peer, do="keep", mode=None)
                    bench.stop()
                if peer not in bench.known["libraries"]:
                    entries[peer] = {"why": "did not start"}
                else:
                    entries[peer] = bench.measure(peer, case, shape)
                bench.save()
                entry = entries[peer]
                _say(f"memory {name} {peer}: " + (f"{entry['step']:.1f} MiB" if "step" in entry else entry["why"]))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _named(text: str) -> tuple[str, str]:
    peer, _, python = text.partition("=")
    if not python or peer not in PEERS:
        raise argparse.ArgumentTypeError(f"PEER=PYTHON with a peer of {', '.join(PEERS)}. Received: {text}")
    return peer, python


def _asks(word: str, case: Case) -> bool:
    """Whether a word of `--losses` is about a row."""
    return word == case.name if word in BY_NAME else word in case.name


def _options() -> argparse.Namespace:
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--losses", nargs="+", metavar="LOSS", help="rows: by whole names, or by parts of several; default: all")
    add("--shapes", nargs="+", choices=TIMED, default=TIMED)
    add("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    add("--repeats", type=int, default=15, help="repetitions of each library in a cell")
    add(
        "--budget", type=float, default=20, help="seconds of a library in a cell, a fifth for those far behind the best"
    )
    add("--timeout", type=float, default=120, help="seconds after which a call is given up")
    add("--limit-gib", type=float, default=round(0.6 * physical), help="memory at which a process is given up")
    add("--no-memory", action="store_true")
    add("--no-time", action="store_true")
    add("--memory-shapes", nargs="+", choices=LISTS, default=["32x1000", "8x4000"], help="the peers' at the last one")
    add("--memory-all", action="store_true", help="memory of the losses without pairs too")
    add("--resume", action="store_true", help="keep the cells that an earlier run finished")
    add("--python", type=_named, nargs="+", action="extend", default=[], metavar="PEER=PYTHON")
    add("--cache", default=str(HERE / ".bench-cache.json"))
    add("--output", default=str(HERE / "RESULTS.md"))
    options = parser.parse_args()
    options.python = dict(options.python)
    return options


def main() -> None:
    options = _options()
    cases = [case for case in CASES if not options.losses or any(_asks(word, case) for word in options.losses)]
    if not cases:
        sys.exit(f"No loss is called {' or '.join(options.losses)}. There are: {'; '.join(BY_NAME)}.")
    bench = Bench(options)
    try:
        if not options.no_time:
            run_times(bench, cases, options.shapes)
        bench.stop()
        if not options.no_memory:
            run_memory(bench, [case for case in cases if case.large or options.memory_all], options.memory_shapes)
    finally:
        bench.stop()
    Path(options.output).write_text(report(bench.known, options))
    _say(f"wrote {options.output}")


if __name__ == "__main__":
    main()
