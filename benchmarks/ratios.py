"""Ours over the best other library, for the rows with a group, and how time grows with the length of a list."""

from __future__ import annotations

import math
from typing import Any

from cases import BY_NAME, LIBRARIES, LISTS, LONGEST

NONE = "–"
SHAPES = ("64x200", "32x1000", "8x4000")
OTHERS = ("tfr", "krs", "rax", "st", "allrank")
ON_TORCH = ("st", "allrank", "plain_torch")
COMPARED = {"ours": OTHERS, "ours-jax": OTHERS, "ours-torch": ON_TORCH}
Cells = dict[str, dict[str, Any]]


def ratio_tables(known: dict[str, Cells]) -> list[str]:
    """For each backend: a row per loss with its ratios of time and memory, and its figures for the longest list."""
    lines = []
    for ours, among in COMPARED.items():
        rows = [row for case in BY_NAME.values() if case.group and (row := _row(known, case.name, ours, among))]
        if not rows:
            continue
        best = "the best of " + ", ".join(LIBRARIES[name] for name in among)
        lines += [
            *["", f"## Ratios, {LIBRARIES[ours]}", "", f"Time and memory over those of {best}.", ""],
            f"| loss | {' | '.join(shape.replace('x', ' × ') for shape in SHAPES)} "
            f"| growth of time, 1,000 to 4,000 | memory, 8 × 4000 | {LONGEST.replace('x', ' × ')}, ms | MiB |",
            f"|---|{'---:|' * (len(SHAPES) + 4)}",
            *rows,
        ]
    return lines


def _row(known: dict[str, Cells], name: str, ours: str, among: tuple[str, ...]) -> str | None:
    cells = {
        (what, shape): known[what].get(f"{name}|{shape}", {})
        for what in ("times", "memory")
        for shape in (*SHAPES, LONGEST)
    }
    if not any(ours in cell for cell in cells.values()):
        return None
    numbers = [_ratio(cells["times", shape], ours, among, "seconds") for shape in SHAPES]
    numbers += [
        _number(growth(known["times"], name, ours), "N^{:.2f}"),
        _ratio(cells["memory", "8x4000"], ours, among, "mebibytes"),
        _number(value_of(cells["times", LONGEST], ours, "seconds"), "{:,.0f}", 1e3),
        _number(value_of(cells["memory", LONGEST], ours, "mebibytes"), "{:,.0f}"),
    ]
    return f"| {name} | {' | '.join(numbers)} |"


def growth(times: Cells, name: str, library: str, shapes: tuple[str, str] = ("32x1000", "8x4000")) -> float | None:
    """The exponent p of time per list ~ N^p between two shapes."""
    points = [(LISTS[shape], value_of(times.get(f"{name}|{shape}", {}), library, "seconds")) for shape in shapes]
    (short, first), (long, second) = ((length, seconds and seconds / lists) for (lists, length), seconds in points)
    return math.log(second / first) / math.log(long / short) if first and second else None


def value_of(cell: dict[str, Any], library: str, of: str) -> float | None:
    """The figure of a library in a cell, None where it has none."""
    entry = cell.get(library, {})
    return None if "error" in entry else entry.get(of)


def _ratio(cell: dict[str, Any], ours: str, among: tuple[str, ...], of: str) -> str:
    others = [value for name in among if (value := value_of(cell, name, of)) is not None]
    value = value_of(cell, ours, of)
    return _number(value / min(others), "{:.3f}") if value is not None and others else NONE


def _number(value: float | None, form: str, unit: float = 1.0) -> str:
    return NONE if value is None else form.format(value * unit)
