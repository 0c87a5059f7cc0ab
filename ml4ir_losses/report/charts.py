"""The charts of reports: functions from plain numbers to matplotlib figures. All are made inside `drawing.style`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ml4ir_losses.report.drawing import GRID, INK, MARKERS, MUTED, SERIES, STYLES, SURFACE, axes

Numbers = Sequence[float]
Interval = tuple[float, float]
Estimate = tuple[float, Interval | None]
"""A mean, with its interval where there is one."""


def look(i: int) -> dict[str, Any]:
    """Colour, dashes and marker of the i-th series: no two of the first few differ by colour alone."""
    return {
        "color": SERIES[i % len(SERIES)],
        "linestyle": STYLES[i % len(STYLES)],
        "marker": MARKERS[i % len(MARKERS)],
    }


def curves(series: Mapping[str, tuple[Numbers, Numbers]], y_label: str, best_epoch: int | None = None) -> Figure:
    """Values by epoch: a line for each series (epochs, values); the kept epoch is marked."""
    figure, ax = axes("epoch", y_label)
    for i, (name, (epochs, values)) in enumerate(series.items()):
        few = {} if len(epochs) <= 25 else {"marker": ""}
        ax.plot(epochs, values, label=name, **{**look(i), **few})
    if best_epoch is not None:
        ax.axvline(best_epoch, color=MUTED, linewidth=1.0, linestyle=":", label=f"kept: epoch {best_epoch}")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    _legend_above(figure, ax)
    return figure


def steps(names: Sequence[str], series: Mapping[str, Sequence[Estimate]], x_label: str, y_label: str) -> Figure:
    """Means with their intervals at a few named places: cut-offs, list lengths."""
    figure, ax = axes(x_label, y_label)
    places = np.arange(len(names))
    for i, (name, estimates) in enumerate(series.items()):
        means = [mean for mean, _ in estimates]
        shift = (i - (len(series) - 1) / 2) * 0.08
        ax.errorbar(places + shift, means, _errors(estimates), label=name, capsize=3, elinewidth=1.2, **look(i))
    ax.set_xticks(places, names)
    ax.margins(x=0.06)
    _legend_above(figure, ax)
    return figure


def histogram(values: Numbers, x_label: str, mean: float, bins: int = 20) -> Figure:
    """How many queries have which value; the mean is marked."""
    figure, ax = axes(x_label, "queries")
    data = np.asarray(values, float)
    low, high = (0.0, 1.0) if data.min() >= 0.0 and data.max() <= 1.0 else (float(data.min()), float(data.max()))
    ax.hist(
        data, bins=np.linspace(low, high if high > low else low + 1.0, bins + 1), color=SERIES[0], edgecolor=SURFACE
    )
    ax.axvline(mean, color=INK, linewidth=1.2, linestyle="--", label=f"mean {mean:.4f}")
    ax.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.grid(axis="x", visible=False)
    _legend_above(figure, ax)
    return figure


def boxes(names: Sequence[str], quantiles: Sequence[Numbers], x_label: str, y_label: str) -> Figure:
    """Five quantiles of each group: a box from the second to the fourth, whiskers from the first to the last."""
    figure, ax = axes(x_label, y_label)
    stats = [dict(zip(("whislo", "q1", "med", "q3", "whishi"), map(float, q), strict=True)) for q in quantiles]
    line = {"color": SERIES[0], "linewidth": 1.3}
    ax.bxp(
        stats,
        positions=np.arange(len(names)),
        widths=0.55,
        showfliers=False,
        patch_artist=True,
        boxprops={"facecolor": SERIES[0], "alpha": 0.35, "edgecolor": SERIES[0]},
        medianprops={"color": INK, "linewidth": 1.6},
        whiskerprops=line,
        capprops=line,
    )
    ax.set_xticks(np.arange(len(names)), names)
    ax.grid(axis="x", visible=False)
    return figure


def calibration(predicted: Numbers, observed: Numbers, x_label: str, y_label: str) -> Figure:
    """Observed shares beside predicted probabilities, with the diagonal on which both are equal."""
    figure, ax = axes(x_label, y_label, height=3.6)
    highest = 1.05 * max(*predicted, *observed, 1e-6)
    ax.plot([0.0, highest], [0.0, highest], color=MUTED, linewidth=1.0, linestyle=":", label="calibrated")
    ax.plot(predicted, observed, label="model", **look(0))
    _legend_above(figure, ax)
    return figure


def bars(names: Sequence[str], estimates: Sequence[Estimate], x_label: str, y_label: str) -> Figure:
    """A horizontal bar for each name, the first at the top, with the range of its value."""
    figure, ax = axes(x_label, y_label, height=_height(len(names)))
    places = np.arange(len(names))
    ax.barh(places, [value for value, _ in estimates], color=SERIES[0], height=0.65)
    if any(interval for _, interval in estimates):
        ax.errorbar(
            [value for value, _ in estimates], places, xerr=_errors(estimates), fmt="none", ecolor=INK, capsize=2
        )
    ax.axvline(0.0, color=MUTED, linewidth=0.8)
    _names_at_left(ax, names)
    return figure


def forest(
    names: Sequence[str],
    estimates: Sequence[Estimate],
    x_label: str,
    y_label: str,
    groups: Sequence[int] | None = None,
    group_names: Sequence[str] = (),
    reference: float | None = None,
) -> Figure:
    """A point with its interval for each name, the first at the top; groups have their own colour and marker."""
    figure, ax = axes(x_label, y_label, height=_height(len(names)))
    groups = groups or [0] * len(names)
    for group in dict.fromkeys(groups):
        rows = [i for i, own in enumerate(groups) if own == group]
        chosen = [estimates[i] for i in rows]
        ax.errorbar(
            [mean for mean, _ in chosen],
            rows,
            xerr=_errors(chosen),
            label=group_names[group] if group_names else None,
            capsize=2.5,
            elinewidth=1.4,
            **{**look(group), "linestyle": "none"},
        )
    if reference is not None:
        ax.axvline(reference, color=MUTED, linewidth=1.0, linestyle=":")
    _names_at_left(ax, names)
    if group_names:
        _legend_above(figure, ax)
    return figure


def spreads(names: Sequence[str], series: Mapping[str, Sequence[float | None]], x_label: str, y_label: str) -> Figure:
    """A point of each series for each name, the first at the top."""
    figure, ax = axes(x_label, y_label, height=_height(len(names)))
    for i, (name, values) in enumerate(series.items()):
        rows = [row for row, value in enumerate(values) if value is not None]
        ax.plot([values[row] for row in rows], rows, label=name, **{**look(i), "linestyle": "none"})
    ax.set_xlim(left=0.0)
    _names_at_left(ax, names)
    _legend_above(figure, ax)
    return figure


def _errors(estimates: Sequence[Estimate]) -> Any:
    """Distances [2, n] from the means down and up to the ends of their intervals."""
    pairs = [(mean, interval or (mean, mean)) for mean, interval in estimates]
    return np.array([[max(m - lo, 0.0) for m, (lo, _) in pairs], [max(hi - m, 0.0) for m, (_, hi) in pairs]])


def _height(rows: int) -> float:
    return 1.1 + 0.22 * max(rows, 3)


def _names_at_left(ax: Any, names: Sequence[str]) -> None:
    ax.set_yticks(np.arange(len(names)), [shortened(name) for name in names], fontsize=9.5)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=4))
    for row in range(0, len(names), 2):
        ax.axhspan(row - 0.5, row + 0.5, color=GRID, alpha=0.3, linewidth=0, zorder=0)


def shortened(name: str, longest: int = 30) -> str:
    """A name that fits beside an axis: its start and its end."""
    return name if len(name) <= longest else f"{name[: longest - 11]}…{name[-10:]}"


def _legend_above(figure: Figure, ax: Any) -> None:
    """The legend above the axes, where it hides no point."""
    labels = ax.get_legend_handles_labels()[1]
    if labels:
        widths = [42.0 + 5.9 * len(label) for label in labels]  # of handle and text; the figure is 360 wide
        columns = len(labels) if sum(widths) < 350 else max(1, int(350 / max(widths)))
        figure.legend(loc="outside upper left", ncols=columns)
