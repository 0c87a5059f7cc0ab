"""One library in a process of its own, asked by `bench.py` in lines of JSON.

    python benchmarks/bench_worker.py PEER                            answers requests on stdin until it ends
    python benchmarks/bench_worker.py PEER --memory CASE SHAPE MODE   prints the growth of memory and ends

Requests: `{"do": "versions"}`, `{"do": "prepare", "case", "shape", "mode"}` (builds, compiles, warms up and returns
seconds), `{"do": "keep", "mode"}` (drops the other modes), `{"do": "time"}` (the seconds of one repetition).
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import re
import resource
import statistics
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

from bench_arrays import arrays
from bench_cases import BY_NAME, OURS

ENOUGH = 0.02  # seconds: a repetition is the median of as many calls as fill it
MOST_CALLS = 25
SLOW = 0.5  # seconds: no untimed call before a repetition of a slower one


class Bench:
    """The steps of one cell, by mode."""

    def __init__(self, library: ModuleType) -> None:
        self.library = library
        self.steps: dict[str, Any] = {}
        self.seconds = 0.0

    def versions(self) -> dict[str, Any]:
        return {"versions": self.library.versions(), "modes": self.library.MODES}

    def prepare(self, case: str, shape: str, mode: str) -> dict[str, Any]:
        start = time.perf_counter()
        step = self.library.step(BY_NAME[case], mode, arrays(BY_NAME[case], shape))
        value, slopes = step()
        first = time.perf_counter() - start
        self.steps[mode] = step
        taken = [_seconds(step)]
        while sum(taken) < 10 * ENOUGH and len(taken) < 10:
            taken.append(_seconds(step))
        self.seconds = min(taken)
        return {"first": first, "seconds": self.seconds, "value": float(value.mean()), "finite": _finite(value, slopes)}

    def keep(self, mode: str | None) -> dict[str, Any]:
        self.steps = {name: step for name, step in self.steps.items() if name == mode}
        gc.collect()
        return {}

    def time(self) -> dict[str, Any]:
        (step,) = self.steps.values()
        if self.seconds < SLOW:
            step()  # the caches and threads went cold while the other libraries ran
        calls = min(MOST_CALLS, max(1, round(ENOUGH / self.seconds)))
        self.seconds = statistics.median(_seconds(step) for _ in range(calls))
        return {"seconds": self.seconds}


def _seconds(step: Any) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def _finite(*values: Any) -> bool:
    import numpy as np

    return all(bool(np.isfinite(value).all()) for value in values)


def memory(library: ModuleType, case: str, shape: str, mode: str) -> dict[str, float]:
    """MiB by which the peak of the process grows over its size after a call on a small shape: in the first call on
    the real shape (`first`, with compilation), and in the second (`step`). Libraries keep what they once took."""
    library.step(
        BY_NAME[case], mode, arrays(BY_NAME[case], "tiny" if BY_NAME[case].family == "in_batch" else "small")
    )()
    step = library.step(BY_NAME[case], mode, arrays(BY_NAME[case], shape))
    before = _reset_peak()
    step()
    first = _peak() - before
    _reset_peak()
    step()
    return {"first": first, "step": _peak() - before}


def _reset_peak() -> float:
    """The size of the process, from which the peak grows anew."""
    gc.collect()
    if sys.platform != "linux":
        return _peak()  # the peak cannot be reset: growth below an earlier peak is not seen
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak() -> float:
    if sys.platform == "linux":
        return _status("VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def _status(name: str) -> float:
    found = re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def answer(requests: TextIO, answers: TextIO, bench: Bench) -> None:
    for line in requests:
        request = json.loads(line)
        try:
            result = getattr(bench, request.pop("do"))(**request)
        except Exception as error:  # whatever a library raises is the reason for a missing cell
            gc.collect()
            lines = [text.strip() for text in str(error).splitlines() if text.strip()]
            result = {"error": f"{type(error).__name__}: {lines[0] if lines else ''}"[:200]}
        print(json.dumps(result), file=answers, flush=True)


def main() -> None:
    # Libraries write to stdout as they please; the answers go through a descriptor of their own.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    peer = sys.argv[1]
    library = importlib.import_module(f"peers.{'ours' if peer in OURS else peer}")
    if "--memory" in sys.argv:
        print(json.dumps(memory(library, *sys.argv[3:6])), file=answers, flush=True)
    else:
        answer(sys.stdin, answers, Bench(library))


if __name__ == "__main__":
    main()
