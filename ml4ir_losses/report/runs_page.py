"""The report of several runs, side by side."""

from __future__ import annotations

from collections.abc import Sequence

from ml4ir_losses.report import charts
from ml4ir_losses.report.page import Cell, Facts, Page, Plot, Section, Table, number, with_interval
from ml4ir_losses.report.run_page import RunData, curve


def runs_page(runs: Sequence[RunData]) -> Page:
    """Metrics, curves and what differs between the configs of several runs."""
    names = run_names(runs)
    sections = [s for make in (_metrics, _curves, _differences) if (s := make(runs, names)) is not None]
    parts = {run.part for run in runs if run.metrics}
    notes = ["The runs were evaluated on different parts of the data; compare with care."] if len(parts) > 1 else []
    notes += [f"{name}: {line}" for name, run in zip(names, runs, strict=True) for line in run.notes]
    missing = [f"{name}: no metrics." for name, run in zip(names, runs, strict=True) if not run.metrics]
    return Page(f"{len(runs)} runs", ", ".join(names), " ".join(notes), sections, missing)


def run_names(runs: Sequence[RunData]) -> list[str]:
    """The last parts of the runs' folders, as many as distinguish them."""
    paths = [run.folder.replace("\\", "/").rstrip("/").split("/") for run in runs]
    for parts in range(1, max(map(len, paths)) + 1):
        names = ["/".join(path[-parts:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [f"{i}: {run.folder}" for i, run in enumerate(runs, start=1)]


def _metrics(runs: Sequence[RunData], names: Sequence[str]) -> Section | None:
    metrics = list(dict.fromkeys(metric for run in runs for metric in run.metrics))
    if not metrics:
        return None
    rows: list[list[Cell]] = [
        [metric, *(with_interval(*run.metrics[metric]) if metric in run.metrics else None for run in runs)]
        for metric in metrics
    ]
    blocks: list[Plot | Table | Facts] = [Table(["metric", *names], rows, "Means with 95% intervals")]
    main = next(run.metric for run in runs if run.metric)
    shown = {name: run.metrics[main] for name, run in zip(names, runs, strict=True) if main in run.metrics}
    if len(shown) > 1:
        figure = charts.forest(list(shown), list(shown.values()), main, "run")
        described = "; ".join(f"{name} {with_interval(*estimate)}" for name, estimate in shown.items())
        blocks.append(Plot("means", f"{main} of each run", f"{described}.", figure))
    text = "Whether two runs differ is better tested query by query: ml4ir-losses evaluate RUN --baseline OTHER_RUN."
    return Section("Metrics", text, blocks)


def _curves(runs: Sequence[RunData], names: Sequence[str]) -> Section | None:
    metric = next((run.metric for run in runs if run.metric), "")
    plots: list[Plot] = []
    for column, title in ((f"val_{metric}", f"{metric} on validation by epoch"), ("loss", "Training loss by epoch")):
        lines = {n: curve(run, column) for n, run in zip(names, runs, strict=True) if column in run.history}
        if lines:
            ends = "; ".join(f"{name} {number(values[-1])}" for name, (_, values) in lines.items() if values)
            figure = charts.curves(lines, metric if column != "loss" else "loss")
            plots.append(Plot(f"curves-{len(plots)}", title, f"A line for each run. Last epoch: {ends}.", figure))
    return Section("Training", "Losses of different kinds have different scales.", plots) if plots else None


def _differences(runs: Sequence[RunData], names: Sequence[str]) -> Section | None:
    settings = [run.settings for run in runs]
    paths = dict.fromkeys(path for values in settings for path in values)
    rows: list[list[Cell]] = []
    for path in paths:
        cells: list[str] = ["–" if values.get(path) is None else str(values[path]) for values in settings]
        if len(set(cells)) > 1:
            rows.append([path, *cells])
    if not rows:
        return Section("Config", "The configs of these runs are equal.")
    return Section("Config", "What differs between the configs.", [Table(["key", *names], rows, "Differences")])
