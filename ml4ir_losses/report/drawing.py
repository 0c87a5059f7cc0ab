"""Figures in one style, written as SVG that follows the colours of its page, and as PNG."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from io import BytesIO, StringIO
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

LIGHT = {
    "ink": "#1f2329",
    "muted": "#5b646f",
    "grid": "#d9dee4",
    "surface": "#fefefe",
    "series-0": "#0072b2",
    "series-1": "#d55e00",
    "series-2": "#008a64",
    "series-3": "#b0508a",
    "series-4": "#8a6d00",
    "series-5": "#3d7fa6",
}
"""The colours of figures by their name in the style sheet, which has others for dark pages (after Okabe, Ito 2008)."""

INK, MUTED, GRID, SURFACE, *SERIES = LIGHT.values()
STYLES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P")
WIDTH = 5.0  # inches; 360 units in SVG, about the width of a phone, so that its text is never scaled far

_NAMES = {colour: name for name, colour in LIGHT.items()}
_COLOUR = re.compile("|".join(_NAMES))
_RC: dict[Any, Any] = {
    "font.size": 11,
    "axes.labelsize": 11,
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
    "legend.fontsize": 10.5,
    "legend.frameon": False,
    "figure.facecolor": SURFACE,
    "axes.facecolor": SURFACE,
    "savefig.facecolor": SURFACE,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.7,
    "lines.markersize": 4,
    "axes.unicode_minus": True,
    "svg.fonttype": "none",  # text stays text: small, selectable, in the page's font
    "figure.constrained_layout.use": True,
}


@contextmanager
def style() -> Iterator[None]:
    """The settings of matplotlib under which all figures are made and written; the program's own are untouched."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        yield


def axes(x_label: str, y_label: str, height: float = 3.0) -> tuple[Figure, Any]:
    """A new figure with one pair of labelled axes."""
    figure = Figure(figsize=(WIDTH, height))
    ax = figure.add_subplot()
    ax.set_xlabel(x_label)
    ax.set_ylabel(y_label)
    return figure, ax


def lay_out(figure: Figure) -> None:
    """Fits axes and legends into the figure, once for all formats."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def svg(figure: Figure, name: str, title: str, description: str) -> str:
    """The figure as an SVG element for an HTML page: colours are variables of its style sheet, and ids are its own."""
    text = StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    body = text.getvalue()
    body = body[body.index("<svg") :]
    head, _, content = body.partition(">")
    size = re.search(r'viewBox="([^"]+)"', head)
    content = re.sub(r"<metadata>.*?</metadata>", "", content, flags=re.S)
    content = re.sub(r'<g id="[^"]*">', "<g>", content)
    content = re.sub(r"<!--.*?-->\s*", "", content, flags=re.S)
    # Every other id, of markers and clip paths, is prefixed: a page holds many figures.
    content = re.sub(r'\bid="', f'id="{name}-', content)
    content = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", content)
    content = _COLOUR.sub(lambda match: f"var(--{_NAMES[match[0]]})", content)
    content = re.sub(r"\n\s*", "\n", content)
    return (
        f'<svg viewBox="{size[1] if size else ""}" role="img" aria-labelledby="{name}-title {name}-desc" '
        'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(description)}</desc>{content}'
    )


def png(figure: Figure) -> bytes:
    """The figure as PNG, 1,000 pixels wide."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=200)
    return buffer.getvalue()
