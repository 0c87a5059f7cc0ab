"""RESULTS.md out of what `bench.py` measured."""

from __future__ import annotations

import argparse
import math
import os
import platform
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bench_cases import BY_NAME, COMPARED, EMBEDDINGS, OURS, PEERS, SHAPES, TENSORFLOW

STRICT = ("pairwise", "lambda", "approx")
BOUND, SHORT = 1.1, 5e-4  # SHORT: seconds under which a jitted call alone counts, and TensorFlow is compared with
LEAN = {**dict.fromkeys(STRICT, 0.05), "in_batch": 0.1}
NONE = "–"

Entries = dict[str, dict[str, Any]]


def report(known: dict[str, Any], options: argparse.Namespace) -> str:
    times = {name: cell for name, cell in known["times"].items() if name.split("|")[0] in BY_NAME}
    shapes = [shape for shape in SHAPES if any(name.endswith(f"|{shape}") for name in times)]
    parts = [_head(known, options), _summary(times)]
    parts += [_times(shape, times, options.repeats) for shape in shapes]
    parts += [_memory(shape, known["memory"]) for shape in (*options.memory_shapes[-1:], *EMBEDDINGS)]
    parts += [_growth(times, known["memory"])]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(known: dict[str, Any], options: argparse.Namespace) -> str:
    libraries = "\n".join(
        f"* {PEERS[peer]}: {known['libraries'][peer]['versions']}" for peer in PEERS if peer in known["libraries"]
    )
    shown = " ".join(_without_paths(sys.argv[1:]))
    lists, longest = SHAPES["ragged"]
    return f"""# Time and memory beside the peers

    {f"python benchmarks/bench.py {shown}" if shown else "make bench"}

Machine: {os.cpu_count()} cores ({_processor()}), {_memory_gib():.0f} GiB, {platform.system()}, no accelerator.

{libraries}

Value and gradient of a batch with respect to the scores, both as NumPy arrays at the end. Scores are normal with
deviation 3, labels 0 to 4, the same in every library; `ragged` is {lists} lists of about 120 documents, the longest
{longest}, padded; in-batch losses get the embeddings of pairs. The median of {options.repeats} repetitions that the
libraries take in turn, after compilation; a repetition is the median of as many calls as fill 20 ms, one at least.
TF-Ranking and keras-rs run as a graph and with XLA, the faster counts (x: XLA). Rax and ours on JAX are jitted, torch
is eager, ours on TensorFlow is a plain `tf.function`, in which the losses compile their own kernels: to call one costs
0.1 ms more than to call a function that is compiled as a whole. Ours (XLA) is that for the losses without pairs, what
`model.compile(jit_compile=True)` makes of them. Bare TensorFlow is the arithmetic of two of those without a mask, and
compares to nothing. The model of sentence-transformers only hands out the scores. The target of a ratio is at most the
number given; where the best peer takes less than {SHORT * 1e3:g} ms, the ratio is to the best of those on
TensorFlow."""


def _without_paths(arguments: list[str]) -> Iterable[str]:
    """The command without interpreters, caches and outputs."""
    hidden = False
    for argument in arguments:
        if argument.startswith("--"):
            hidden = argument.split("=")[0] in ("--python", "--cache", "--output")
        if not hidden:
            yield argument


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3


def best_peer(cell: Entries, of: str = "seconds") -> str | None:
    """The fastest peer; under half a millisecond the fastest that runs on TensorFlow, if there is one."""
    found = [peer for peer in COMPARED if of in cell.get(peer, ())]
    if not found:
        return None
    best = min(found, key=lambda peer: cell[peer][of])
    tensorflow = [peer for peer in found if peer in TENSORFLOW]
    if of == "seconds" and cell[best][of] < SHORT and tensorflow:
        return min(tensorflow, key=lambda peer: cell[peer][of])
    return best


def target(name: str, shape: str) -> float:
    """What ours over the best peer should not exceed."""
    if BY_NAME[name].family == "in_batch":
        return 1.0
    if BY_NAME[name].family not in STRICT or shape == "ragged":
        return BOUND
    return 0.7 if shape == "64x200" else 0.5


def ratio(cell: Entries, peer: str = "ours", of: str = "seconds") -> float | None:
    best = best_peer(cell, of)
    return cell[peer][of] / cell[best][of] if best and of in cell.get(peer, ()) and cell[best][of] > 0 else None


def _summary(times: dict[str, Entries]) -> str:
    return "\n".join(
        line
        for peer, who in (("ours", "ours on TensorFlow"), ("ours-xla", "the losses without pairs under XLA"))
        for line in _met(times, peer, who)
    )


def _met(times: dict[str, Entries], peer: str, who: str) -> Iterable[str]:
    judged = {name: value for name, cell in times.items() if (value := ratio(cell, peer)) is not None}
    if not judged:
        return
    missed = [name for name, value in judged.items() if value > target(*name.split("|"))]
    yield f"\nTargets of time met by {who}: {len(judged) - len(missed)} of {len(judged)} cells."
    if missed:
        yield "Missed: " + ", ".join(f"{name.replace('|', ' at ')} ({judged[name]:.2f})" for name in missed) + "."


def _times(shape: str, times: dict[str, Entries], repeats: int) -> str:
    cells = {name: times[f"{name}|{shape}"] for name in BY_NAME if f"{name}|{shape}" in times}
    peers = [peer for peer in PEERS if any(peer in cell for cell in cells.values())]
    rows = []
    for name, cell in cells.items():
        best = best_peer(cell)
        ratios = [_number(ratio(cell, peer)) for peer in OURS if peer in peers]
        rows.append(
            [
                name,
                *(_time(cell.get(peer), repeats) for peer in peers),
                PEERS[best] if best else NONE,
                *ratios,
                f"{target(name, shape):g}",
            ]
        )
    heads = [
        "loss",
        *(PEERS[peer] for peer in peers),
        "best peer",
        *(f"{PEERS[peer]} / best" for peer in OURS if peer in peers),
        "target",
    ]
    return f"## Time at {_size(shape)}, ms\n\n{_table(heads, rows)}\n\n{_missing(cells)}"


def _size(shape: str) -> str:
    what = " (rows × dimensions)" if shape in EMBEDDINGS else " (lists × documents)" if shape != "ragged" else ""
    return shape.replace("x", " × ") + what


def _time(entry: dict[str, Any] | None, repeats: int) -> str:
    if not entry or "seconds" not in entry:
        return NONE
    marks = [f"{entry['repeats']} repetitions"] if entry["repeats"] < repeats else []
    marks += ["x"] if entry["mode"] == "xla" else []
    return f"{entry['seconds'] * 1e3:.3g}" + (f" ({', '.join(marks)})" if marks else "")


def _missing(cells: dict[str, Entries]) -> str:
    whys = [
        f"{PEERS[peer]}, {name}: {entry['why']}"
        for name, cell in cells.items()
        for peer, entry in cell.items()
        if "why" in entry
    ]
    notes = [
        f"{NONE}: the library has no such loss" + (f", or did not get through. {'; '.join(whys)}." if whys else ".")
    ]
    odd = [
        f"{PEERS[peer]}, {name}"
        for name, cell in cells.items()
        for peer, entry in cell.items()
        if not all(mode.get("finite", True) for mode in entry.get("modes", {}).values())
    ]
    notes += [f"Not finite: {'; '.join(odd)}."] if odd else []
    return "\n".join(notes)


def _memory(shape: str, memory: dict[str, Entries]) -> str:
    cells = {name: memory[f"{name}|{shape}"] for name in BY_NAME if f"{name}|{shape}" in memory}
    if not cells:
        return ""
    peers = [peer for peer in PEERS if any(peer in cell for cell in cells.values())]
    rows = []
    for name, cell in cells.items():
        best = best_peer(cell, "step")
        rows.append(
            [
                name,
                *(_mebibytes(cell.get(peer)) for peer in peers),
                PEERS[best] if best else NONE,
                *(_number(ratio(cell, peer, "step"), 3) for peer in OURS if peer in peers),
                str(LEAN.get(BY_NAME[name].family, NONE)),
            ]
        )
    heads = [
        "loss",
        *(PEERS[peer] for peer in peers),
        "leanest peer",
        *(f"{PEERS[peer]} / leanest" for peer in OURS if peer in peers),
        "target",
    ]
    return f"""## Extra memory at {_size(shape)}, MiB

What the peak of the process grows by in a step, over its size after a step on 8 × 200; in brackets in the first call,
which compiles. A process for each number; of several modes the leanest.

{_table(heads, rows)}

{_missing(cells)}"""


def _mebibytes(entry: dict[str, Any] | None) -> str:
    return f"{entry['step']:.1f} ({entry['first']:.1f})" if entry and "step" in entry else NONE


def _growth(times: dict[str, Entries], memory: dict[str, Entries]) -> str:
    """Exponents e of cost per list = N^e between 1000 and 4000 documents."""
    rows = []
    for name in BY_NAME:
        small, large = (times.get(f"{name}|{shape}", {}) for shape in ("32x1000", "8x4000"))
        lean = [memory.get(f"{name}|{shape}", {}).get("ours", {}) for shape in ("32x1000", "8x4000")]
        shown = [_exponent(small, large, lambda peers: "ours"), _exponent(small, large, best_peer)]
        grown = _per_list(*(entry.get("step", 0.0) for entry in lean))
        if any(value is not None for value in (*shown, grown)):
            rows.append([name, *(_number(value) for value in (*shown, grown))])
    if not rows:
        return ""
    heads = ["loss", "time, ours (TensorFlow)", "time, best peer at 8 × 4000", "memory, ours (TensorFlow)"]
    return f"""## Growth with the length of the list

The exponent e with which the cost of a list grows as N^e from 1000 to 4000 documents; 2: with the pairs.

{_table(heads, rows)}"""


def _exponent(small: Entries, large: Entries, chosen: Callable[[Entries], str | None]) -> float | None:
    peer = chosen(large)
    return _per_list(*(cell.get(peer or "", {}).get("seconds", 0.0) for cell in (small, large)))


def _per_list(small: float, large: float) -> float | None:
    lists = SHAPES["32x1000"][0] / SHAPES["8x4000"][0]
    return math.log(large / small * lists) / math.log(4) if small > 0 and large > 0 else None


def _number(value: float | None, digits: int = 2) -> str:
    return NONE if value is None else f"{value:.{digits}f}"


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
