"""The tables of RESULTS.md out of what `bench.py` measured."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any

from cases import BY_NAME, LIBRARIES, OURS, OWN_CODE, SHAPES
from ratios import ratio_tables

NONE = "–"
SHORT = 5e-4  # seconds: under these the call of a compiled function counts, and TensorFlow is compared with TensorFlow
ON_TENSORFLOW = ("tfr", "krs")


def report(known: dict[str, Any]) -> str:
    """Machine, libraries, a table for each shape, and the ratios."""
    lines = [f"Machine: {_machine()}.", ""]
    lines += [f"* {LIBRARIES[name]}: {library['versions']}" for name, library in known["libraries"].items()]
    for kind, shapes in SHAPES.items():
        for shape in shapes:
            for what, heading in (("times", _heading(kind)), ("memory", "Memory, MiB")):
                cells = {name: known[what].get(f"{name}|{shape}") for name in BY_NAME}
                if any(cells.values()):
                    at = "" if kind == "training" else ", " + re.sub(r"(?<=[0-9])x", " × ", shape)
                    table = _table(cells, "seconds" if what == "times" else "mebibytes")
                    lines += ["", f"## {heading}{at}", "", *table]
    return "\n".join(lines + ratio_tables(known))


def _heading(kind: str) -> str:
    return "Training, documents per second" if kind == "training" else "Time, ms"


def _table(cells: dict[str, Any], of: str) -> list[str]:
    """Rows are losses, columns libraries; the last column is ours on TensorFlow over the best of the others."""
    rows = {name: cell for name, cell in cells.items() if cell}
    libraries = [library for library in LIBRARIES if any(library in cell for cell in rows.values())]
    lines = [
        f"| loss | {' | '.join(LIBRARIES[library] for library in libraries)} | ours / best |",
        f"|---|{'---:|' * (len(libraries) + 1)}",
    ]
    for name, cell in rows.items():
        best = best_other(cell, of)
        shown = [_number(cell.get(library, {}).get(of), BY_NAME[name].kind, of) for library in libraries]
        marked = [f"**{text}**" if library == best else text for library, text in zip(libraries, shown, strict=True)]
        ratio = _ratio(cell, best, of, BY_NAME[name].kind)
        lines.append(f"| {name} | {' | '.join(marked)} | {ratio} |")
    missing = [
        f"{LIBRARIES[library]}, {name}: {entry['error']}"
        for name, cell in rows.items()
        for library, entry in cell.items()
        if "error" in entry
    ]
    return lines + (["", f"No result: {'; '.join(missing)}."] if missing else [])


def _ratio(cell: dict[str, Any], best: str | None, of: str, kind: str) -> str:
    """Ours over the best other; of rates in training, of time or memory elsewhere."""
    if best is None or of not in cell.get("ours", {}):
        return NONE
    ratio = cell["ours"][of] / cell[best][of]
    return f"{1 / ratio if kind == 'training' else ratio:.2f}"


def best_other(cell: dict[str, Any], of: str) -> str | None:
    """The best library besides ours; under half a millisecond the best of those on TensorFlow, if there is one."""
    found = {
        name: entry[of]
        for name, entry in cell.items()
        if name not in (*OURS, *OWN_CODE) and of in entry and "error" not in entry
    }
    if not found:
        return None
    best = min(found, key=found.__getitem__)
    on_tensorflow = {name: value for name, value in found.items() if name in ON_TENSORFLOW}
    short = of == "seconds" and found[best] < SHORT and on_tensorflow
    return min(on_tensorflow, key=on_tensorflow.__getitem__) if short else best


def _number(value: float | None, kind: str, of: str) -> str:
    if value is None:
        return NONE
    if of == "mebibytes":
        return f"{value:,.0f}"
    if kind == "training":
        return f"{1 / value:,.0f}"
    return f"{value * 1e3:.3g}" if value < 1 else f"{value * 1e3:,.0f}"


def _machine() -> str:
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.machine()
    wide = "with" if any(line.startswith("flags") and "avx512f" in line.split() for line in lines) else "without"
    return f"{os.cpu_count()} cores ({name}, {wide} AVX-512), {gib:.0f} GiB, {platform.system()}"
