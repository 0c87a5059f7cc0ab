"""One library in a process of its own, which answers `bench.py` in lines of JSON.

python benchmarks/worker.py LIBRARY                             answers requests on stdin
python benchmarks/worker.py LIBRARY --memory CASE SHAPE MODE    prints the growth of memory and ends
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import re
import statistics
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from cases import BY_NAME, OURS

ENOUGH = 0.02  # seconds: a repetition is the median of as many calls as fill it
MOST_CALLS = 25
SLOW = 0.5  # seconds: a slower step is not called once untimed before it is timed


class Bench:
    """The step of the current cell, in the fastest mode of the library."""

    def __init__(self, library: ModuleType) -> None:
        self.library = library
        self.step: Any = None
        self.seconds = 0.0

    def versions(self) -> dict[str, Any]:
        return {"versions": self.library.versions(), "modes": self.library.MODES}

    def prepare(self, case: str, shape: str, modes: list[str]) -> dict[str, Any]:
        """Compiles and warms up the step in each mode, and keeps the fastest."""
        self.step, found, failed = None, {}, {}
        for mode in modes:
            try:
                step = self.library.step(BY_NAME[case], shape, mode)
                if not all(np.isfinite(value).all() for value in step()):
                    raise FloatingPointError("not finite")
            except Exception as error:  # whatever a library raises is the reason for a missing cell
                failed[mode] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
                continue
            seconds = _seconds(step)
            found[mode] = min([seconds, *(_seconds(step) for _ in range(min(9, int(10 * ENOUGH / seconds))))])
            if found[mode] == min(found.values()):
                self.step, self.seconds = step, found[mode]
        gc.collect()
        if not found:
            return {"error": "; ".join(f"{mode}: {why}" for mode, why in failed.items())}
        return {"mode": min(found, key=found.__getitem__), "seconds": self.seconds}

    def time(self) -> dict[str, Any]:
        """Seconds of one repetition, per document where the step is an epoch of training."""
        if self.seconds < SLOW:
            self.step()  # caches and threads went cold while the other libraries ran
        calls = min(MOST_CALLS, max(1, round(ENOUGH / self.seconds)))
        seconds = statistics.median(_seconds(self.step) for _ in range(calls))
        return {"seconds": seconds / getattr(self.step, "documents", 1)}


def _seconds(step: Any) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def memory(library: ModuleType, case: str, shape: str, mode: str) -> dict[str, float]:
    """MiB by which a step grows the peak of the process over its size after a step on a small shape.

    Measured in the second step: the first one compiles.
    """
    library.step(BY_NAME[case], shape, mode, warm_up=True)()
    step = library.step(BY_NAME[case], shape, mode)
    before = _reset_peak()
    step()
    _reset_peak()
    step()
    return {"mebibytes": _status("VmHWM") - before}


def _reset_peak() -> float:
    """The size of the process, from which Linux measures the peak anew."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(name: str) -> float:
    found = re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")  # libraries write to stdout as they please
    os.dup2(2, 1)
    name = sys.argv[1]
    library = importlib.import_module(f"peers.{'ours' if name in OURS else name}")
    if "--memory" in sys.argv:
        print(json.dumps(memory(library, *sys.argv[3:6])), file=answers, flush=True)
        return
    bench = Bench(library)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(getattr(bench, request.pop("do"))(**request)), file=answers, flush=True)


if __name__ == "__main__":
    main()
