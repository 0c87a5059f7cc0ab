"""Pages of a report: sections of plots, tables and facts, written as one HTML file that needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

import jinja2
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from ml4ir_losses.report import drawing

Cell = str | float | None


@dataclass
class Plot:
    """A figure with its name (that of its PNG file), its title, and in words what it shows."""

    name: str
    title: str
    description: str
    figure: Figure

    def __post_init__(self) -> None:
        drawing.lay_out(self.figure)

    @property
    def svg(self) -> str:
        return drawing.svg(self.figure, self.name, self.title, self.description)


@dataclass
class Table:
    """A table; columns of numbers are aligned to the right.

    Attributes:
        header: the names of the columns.
        rows: cells: text, numbers (written with `digits` decimals if they are not whole) or None for an empty one.
        caption: what the table holds.
        strong: the row that is emphasized, if any.
        folded: whether it is folded up under its caption, open at first.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str
    strong: int | None = None
    folded: bool = False

    def is_number(self, column: int) -> bool:
        """True for a column that holds numbers, or text that starts like one."""
        cells = [row[column] for row in self.rows if row[column] not in (None, "", "–")]
        return bool(cells) and all(not isinstance(cell, str) or cell[:1] in "0123456789-−+<" for cell in cells)


@dataclass
class Facts:
    """Pairs of a name and a value."""

    items: Sequence[tuple[str, Cell]]


@dataclass
class Section:
    """A part of a page: its title, a sentence or two on how to read it, and what it holds."""

    title: str
    text: str = ""
    blocks: Sequence[Plot | Table | Facts] = ()
    notes: Sequence[str] = ()

    @property
    def half(self) -> bool:
        """Whether half the width of a wide page is enough: for a single plot."""
        return len(self.blocks) == 1 and isinstance(self.blocks[0], Plot)

    @property
    def anchor(self) -> str:
        return "".join(c if c.isalnum() else "-" for c in self.title.lower())


@dataclass
class Page:
    """A report.

    Attributes:
        title: the title of the page.
        subtitle: a line below it.
        lead: what a hurried reader should know.
        sections: the parts of the page; None where a part does not apply.
        missing: parts that could not be drawn, each with the reason.
    """

    title: str
    subtitle: str = ""
    lead: str = ""
    sections: list[Section] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def plots(self) -> Iterator[Plot]:
        """All plots of the page."""
        for section in self.sections:
            yield from (block for block in section.blocks if isinstance(block, Plot))


def number(value: Cell, digits: int = 4) -> str:
    """A cell as text: whole numbers with separators, others with four decimals, and an en dash for none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, str):
        return value
    if isinstance(value, int) or (float(value).is_integer() and abs(value) >= 1000):
        return f"{int(value):,}"
    if value and (abs(value) < 10**-digits or abs(value) >= 10_000):
        return f"{value:.3g}"
    return f"{value:.{digits}f}".replace("-", "−")


def with_interval(mean: float, interval: Sequence[float] | None) -> str:
    """`0.7604 (0.7412 to 0.7791)`."""
    return number(mean) if interval is None else f"{number(mean)} ({number(interval[0])} to {number(interval[1])})"


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ml4ir_losses.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = number
    environment.filters["name"] = lambda cell: escape(number(cell)).replace("_", Markup("_<wbr>"))
    environment.filters["kind"] = lambda block: type(block).__name__
    return environment


def render(page: Page) -> str:
    """The page as HTML: styles and figures inside, no script, nothing from the network."""
    return _templates().get_template("page.html").render(page=page, light=drawing.LIGHT)
