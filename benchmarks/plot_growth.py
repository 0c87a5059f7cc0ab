"""Draws docs/images/pairs-growth.svg: time per list by the length of the list, from what `bench.py` measured.

make bench BENCH="--losses pairwise_logistic 'pairwise_logistic, ndcg, smooth_fraction=1'"
python benchmarks/plot_growth.py
"""

from __future__ import annotations

import json
import math
from html import escape
from pathlib import Path

from bench import CACHE
from cases import LIBRARIES, LISTS
from ratios import Cells, value_of

TARGET = Path(__file__).parents[1] / "docs" / "images" / "pairs-growth.svg"
LOSSES = ("pairwise_logistic", "pairwise_logistic, ndcg, smooth_fraction=1")
SHAPES = ("64x200", "32x1000", "8x4000", "1x60000")
COLOURS = {
    **{"ours": "#d62728", "ours-jax": "#ff7f0e", "ours-torch": "#8c1a4b"},
    **{"tfr": "#1f77b4", "krs": "#2ca02c", "rax": "#17a2b8", "st": "#9467bd", "allrank": "#7f7f7f"},
    "plain_torch": "#555555",
}
WIDTH, HEIGHT, LEFT, TOP, SPACE = 330, 320, 60, 40, 130  # of a panel; SPACE: for the names at its right
LENGTHS, MILLISECONDS = (100, 100_000), (1e-2, 1e4)  # the ranges of the axes
LINE = 13  # least distance of two names

Point = tuple[float, float]


def main() -> None:
    times = json.loads(CACHE.read_text())["times"]
    panels = [_panel(times, loss, LEFT + n * (WIDTH + SPACE + LEFT)) for n, loss in enumerate(LOSSES)]
    size = (len(LOSSES) * (WIDTH + SPACE + LEFT), TOP + HEIGHT + 50)
    text = "".join(f"{line}\n" for panel in panels for line in panel)
    TARGET.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size[0]} {size[1]}" font-family="sans-serif" '
        f'font-size="11">\n<rect width="100%" height="100%" fill="white"/>\n{text}</svg>\n',
        encoding="utf-8",
    )


def _panel(times: Cells, loss: str, left: float) -> list[str]:
    """Grid, lines and names of one loss."""
    lines = [_text(left, TOP - 16, f"{loss}: ms per list", weight="bold")]
    lines += [_text(left + WIDTH / 2, TOP + HEIGHT + 36, "documents in a list", anchor="middle")]
    for length in _powers_of_ten(LENGTHS):
        x, _ = _at(left, (length, MILLISECONDS[0]))
        lines += [_line([(x, TOP), (x, TOP + HEIGHT)], "#dddddd", 1)]
        lines += [_text(x, TOP + HEIGHT + 16, f"{length:,.0f}", anchor="middle")]
    for milliseconds in _powers_of_ten(MILLISECONDS):
        _, y = _at(left, (LENGTHS[0], milliseconds))
        lines += [_line([(left, y), (left + WIDTH, y)], "#dddddd", 1)]
        lines += [_text(left - 6, y + 4, f"{milliseconds:,g}", anchor="end")]
    ends = []
    for library, colour in COLOURS.items():
        points = [_at(left, point) for point in _points(times, loss, library)]
        if points:
            ours = library.startswith("ours")
            lines += [_line(points, colour, 2.5 if ours else 1.5, dashed=not ours)]
            lines += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in points]
            ends.append((points[-1], library))
    lowest: dict[float, float] = {}
    for (x, y), library in sorted(ends, key=lambda end: end[0][1]):
        lowest[x] = max(y + 4, lowest.get(x, -math.inf) + LINE)
        lines += [_text(x + 8, lowest[x], LIBRARIES[library], colour=COLOURS[library])]
    return lines


def _points(times: Cells, loss: str, library: str) -> list[Point]:
    """(documents, milliseconds per list) for each shape that was measured."""
    cells = [(LISTS[shape], value_of(times.get(f"{loss}|{shape}", {}), library, "seconds")) for shape in SHAPES]
    return [(length, 1e3 * seconds / lists) for (lists, length), seconds in cells if seconds is not None]


def _at(left: float, point: Point) -> Point:
    """Where a point lies in the drawing; both axes are logarithmic."""
    (x, y), (shortest, longest), (least, most) = point, LENGTHS, MILLISECONDS
    right = math.log(x / shortest) / math.log(longest / shortest)
    up = math.log(y / least) / math.log(most / least)
    return left + WIDTH * right, TOP + HEIGHT * (1 - up)


def _powers_of_ten(limits: tuple[float, float]) -> list[float]:
    first, last = (round(math.log10(limit)) for limit in limits)
    return [10.0**power for power in range(first, last + 1)]


def _line(points: list[Point], colour: str, width: float, dashed: bool = False) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dash = ' stroke-dasharray="5 3"' if dashed else ""
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"{dash}/>'


def _text(x: float, y: float, text: str, anchor: str = "start", weight: str = "normal", colour: str = "#333333") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" fill="{colour}" '
        f'stroke="white" stroke-width="3" paint-order="stroke">'
        f"{escape(text)}</text>"
    )


if __name__ == "__main__":
    main()
