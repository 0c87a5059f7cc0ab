"""The report of a run, from plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ml4ir_losses.report import charts
from ml4ir_losses.report.charts import Estimate
from ml4ir_losses.report.page import Cell, Facts, Page, Plot, Section, Table, number, with_interval

TOP_COLUMNS = 20  # bars of the importance


@dataclass
class PoorQuery:
    """A query that the model ranks badly: its documents are (rank, place in the data, document, label, score)."""

    query: str
    value: float
    documents: int
    rows: Sequence[tuple[int, int, str, float, float]]


@dataclass
class Calibration:
    """Bins of documents: their mean probability, the share of relevant ones; the expected calibration error."""

    predicted: Sequence[float]
    observed: Sequence[float]
    error: float
    documents: int


@dataclass
class RunData:
    """What the report of a run draws; empty or None where a run has no such thing.

    Attributes:
        name: the name of the config.
        folder: the run folder.
        summary: (name, value) of the main settings and sizes.
        settings: all values of the config by path, `model.loss.key`.
        splits: rows (split, source, rows, columns).
        part: the part of the data that all values below belong to, for example `test`.
        metric: the main metric.
        higher_is_better: whether larger values of the main metric are better.
        metrics: mean and interval of each metric on `part`.
        other_parts: means of the metrics on other parts, by part.
        baselines: means of the metrics of each baseline.
        history: the columns of `history.csv`.
        best_epoch: the epoch, from 1, whose weights were kept.
        values: the main metric of each query that counts.
        cutoffs: mean and interval at each cut-off, by metric key; the main metric first.
        original: the main metric by cut-off for the order of the documents in the data.
        grades: five quantiles (5%, 25%, 50%, 75%, 95%) of the centred scores of each grade.
        lengths: (range of list sizes, queries, model, original order) of groups of queries.
        poor: the queries with the lowest values.
        importance: what `importance.json` holds.
        explanations: what `explanations.json` holds.
        calibration: of scores that are probabilities.
        notes: what the reader must know, for example that the run was interrupted.
        missing: parts that could not be made, with the reason.
    """

    name: str
    folder: str
    summary: list[tuple[str, Cell]] = field(default_factory=list)
    settings: dict[str, Cell] = field(default_factory=dict)
    splits: list[Sequence[Cell]] = field(default_factory=list)
    part: str = "test"
    metric: str = ""
    higher_is_better: bool = True
    metrics: dict[str, Estimate] = field(default_factory=dict)
    other_parts: dict[str, dict[str, float]] = field(default_factory=dict)
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)
    history: dict[str, list[float]] = field(default_factory=dict)
    best_epoch: int | None = None
    values: Sequence[float] = ()
    cutoffs: dict[str, dict[int, Estimate]] = field(default_factory=dict)
    original: dict[int, Estimate] = field(default_factory=dict)
    grades: Mapping[str, Sequence[float]] = field(default_factory=dict)
    lengths: list[tuple[str, int, Estimate, Estimate | None]] = field(default_factory=list)
    poor: list[PoorQuery] = field(default_factory=list)
    importance: dict[str, Any] | None = None
    explanations: dict[str, Any] | None = None
    calibration: Calibration | None = None
    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def run_page(run: RunData) -> Page:
    """The report of a run."""
    makers = (
        _metrics,
        _settings,
        _curves,
        _cutoffs,
        _distribution,
        _lengths,
        _grades,
        _calibration,
        _importance,
        _poor,
        _explanations,
    )
    sections = [section for make in makers if (section := make(run)) is not None]
    return Page(run.name, run.folder, _lead(run), sections, run.missing)


def _lead(run: RunData) -> str:
    """The main metric beside the best baseline, in a sentence."""
    if run.metric not in run.metrics:
        return " ".join(run.notes)
    mean, interval = run.metrics[run.metric]
    text = f"{run.metric} on {run.part}: {with_interval(mean, interval)}."
    others = {name: values[run.metric] for name, values in run.baselines.items() if run.metric in values}
    if others:
        best = (max if run.higher_is_better else min)(others, key=lambda name: others[name])
        text += f" The best baseline, {best}, has {number(others[best])}."
    return " ".join([text, *run.notes])


def _metrics(run: RunData) -> Section | None:
    if not run.metrics:
        return None
    columns = {**run.baselines, **{f"model on {part}": values for part, values in run.other_parts.items()}}
    rows: list[list[Cell]] = [
        [name, mean, _interval(interval), *(values.get(name) for values in columns.values())]
        for name, (mean, interval) in run.metrics.items()
    ]
    text = "Means over queries" + (
        ", with 95% intervals: where the mean would lie for other queries of the same kind."
        if any(interval for _, interval in run.metrics.values())
        else "."
    )
    return Section(
        "Metrics", text, [Table(["metric", "model", "95% interval", *columns], rows, f"Metrics on {run.part}")]
    )


def _interval(interval: Sequence[float] | None) -> str | None:
    return None if interval is None else f"{number(interval[0])} to {number(interval[1])}"


def _settings(run: RunData) -> Section:
    blocks: list[Plot | Table | Facts] = [Facts(run.summary)]
    if run.splits:
        blocks.append(Table(["split", "source", "rows", "columns"], run.splits, "Data"))
    return Section("Config and data", blocks=blocks)


def _curves(run: RunData) -> Section | None:
    epochs = run.history.get("epoch", [])
    if not epochs:
        return None
    blocks: list[Plot | Table | Facts] = []
    monitored = [name for name in run.history if name.removeprefix("val_").endswith(run.metric) and run.metric]
    for title, names in (("Loss by epoch", ["loss", "val_loss"]), (f"{run.metric} by epoch", monitored)):
        series = {_curve_name(name): name for name in names if name in run.history}
        if series:
            lines = {label: curve(run, name) for label, name in series.items()}
            figure = charts.curves(lines, "loss" if "loss" in names else run.metric, run.best_epoch)
            ends = "; ".join(f"{name} {number(values[-1])}" for name, (_, values) in lines.items() if values)
            name = "curve-loss" if "loss" in names else "curve-metric"
            blocks.append(Plot(name, title, f"A line chart over {len(epochs)} epochs. Last epoch: {ends}.", figure))
    text = "What training minimized, and the metric after each epoch. The weights of the marked epoch were kept."
    return Section("Training", text, blocks) if blocks else None


def _curve_name(name: str) -> str:
    return "validation" if name.startswith("val_") else "training"


def curve(run: RunData, column: str) -> tuple[list[float], list[float]]:
    """The epochs that have a value in a column of the history, and their values."""
    pairs = [(e, v) for e, v in zip(run.history["epoch"], run.history[column], strict=True) if math.isfinite(v)]
    return [epoch for epoch, _ in pairs], [value for _, value in pairs]


def _cutoffs(run: RunData) -> Section | None:
    if not run.cutoffs:
        return None
    key, main = next(iter(run.cutoffs.items()))
    series = {"model": list(main.values())}
    if run.original:
        series["original order"] = [run.original[cut] for cut in main]
    figure = charts.steps([str(cut) for cut in main], series, "cut-off (documents)", key)
    described = ", ".join(f"{number(mean)} at {cut}" for cut, (mean, _) in main.items())
    plot = Plot("cutoffs", f"{key} by cut-off", f"Points with 95% intervals. The model: {described}.", figure)
    blocks: list[Plot | Table | Facts] = [plot]
    if others := {name: list(values.values()) for name, values in run.cutoffs.items() if name != key}:
        figure = charts.steps([str(cut) for cut in main], others, "cut-off (documents)", "metric")
        ends = ", ".join(f"{name} {number(estimates[-1][0])}" for name, estimates in others.items())
        described = f"Points with 95% intervals. At {list(main)[-1]}: {ends}."
        blocks.append(Plot("cutoffs-others", "Other metrics by cut-off", described, figure))
    rows: list[list[Cell]] = [[cut, *(with_interval(*values[cut]) for values in run.cutoffs.values())] for cut in main]
    blocks.append(Table(["cut-off", *run.cutoffs], rows, "Means with 95% intervals"))
    text = "Each metric over the first documents of every list."
    return Section("By cut-off", text, blocks)


def _distribution(run: RunData) -> Section | None:
    values = np.asarray(run.values, float)
    if not len(values):
        return None
    worst, middle, best = np.quantile(values, [0.1, 0.5, 0.9])
    described = f"A tenth of the queries are below {number(worst)}, half below {number(middle)}, nine tenths below "
    figure = charts.histogram(run.values, run.metric, float(values.mean()))
    plot = Plot("distribution", f"{run.metric} over queries", f"{described}{number(best)}.", figure)
    facts = Facts(
        [
            ("queries", len(values)),
            ("10% quantile", float(worst)),
            ("median", float(middle)),
            ("90% quantile", float(best)),
            ("standard deviation", float(values.std())),
        ]
    )
    return Section("Over queries", "How many queries have which value: a mean hides those that fail.", [plot, facts])


def _lengths(run: RunData) -> Section | None:
    if len(run.lengths) < 2:
        return None
    names = [name for name, *_ in run.lengths]
    series: dict[str, list[Estimate]] = {"model": [model for _, _, model, _ in run.lengths]}
    original = [other for *_, other in run.lengths if other is not None]
    if len(original) == len(names):
        series["original order"] = original
    figure = charts.steps(names, series, "documents of the query", run.metric)
    described = ", ".join(f"{number(model[0])} for {name} documents" for name, _, model, _ in run.lengths)
    plot = Plot("list-length", f"{run.metric} by list length", f"The model: {described}.", figure)
    rows: list[list[Cell]] = [[name, count, with_interval(*model)] for name, count, model, _ in run.lengths]
    text = "Short lists are easier for most metrics: compare the model with the original order within a group."
    return Section("List length", text, [plot, Table(["documents", "queries", run.metric], rows, "Groups of queries")])


def _grades(run: RunData) -> Section | None:
    if len(run.grades) < 2:
        return None
    names = list(run.grades)
    figure = charts.boxes(names, list(run.grades.values()), "label", "score minus mean of its query")
    described = ", ".join(
        f"{number(float(q[2]))} for label {n}" for n, q in zip(names, run.grades.values(), strict=True)
    )
    description = f"Boxes from the 25% to the 75% quantile, whiskers from 5% to 95%. Medians: {described}."
    plot = Plot("scores-by-grade", "Scores by label", description, figure)
    text = (
        "A good model gives higher scores to higher labels. The box holds the middle half of the documents, the "
        "whiskers nine tenths; only differences within a query decide the order, so each query's mean is subtracted."
    )
    return Section("Scores by label", text, [plot])


def _calibration(run: RunData) -> Section | None:
    found = run.calibration
    if found is None:
        return None
    figure = charts.calibration(found.predicted, found.observed, "predicted probability", "share of relevant documents")
    described = f"Ten bins of equally many documents. Expected calibration error: {number(found.error)}."
    plot = Plot("calibration", "Calibration of the scores", described, figure)
    text = (
        f"The scores are probabilities. Of {found.documents:,} documents in bins of equally many, as many should be "
        f"relevant as predicted: points on the dotted line. The mean distance (ECE) is {number(found.error)}."
    )
    return Section("Calibration", text, [plot])


def _importance(run: RunData) -> Section | None:
    found = run.importance
    if not found or not found["columns"]:
        return None
    shown = found["columns"][:TOP_COLUMNS]
    repeats = found["repeats"]
    estimates = [(c["drop"], (c["lowest"], c["highest"]) if repeats > 1 else None) for c in shown]
    figure = charts.bars([c["name"] for c in shown], estimates, f"fall of {found['metric']}", "column")
    first = ", ".join(f"{c['name']} {number(c['drop'])}" for c in shown[:5])
    plot = Plot("importance", "Importance of columns", f"The largest falls: {first}.", figure)
    hidden = len(found["columns"]) - len(shown)
    text = (
        f"How far {found['metric']} falls when a column is shuffled among the documents of each query. Measured on "
        f"{found['queries']:,} queries ({found['documents']:,} documents), "
        + ("once; " if repeats == 1 else f"{repeats} times, with the lowest and the highest fall; ")
        + f"took {found['seconds']:.1f} s. Columns that say the same share their importance."
    )
    notes = [f"{hidden} columns with smaller falls are not shown."] if hidden else []
    return Section("Importance", text, [plot], notes)


def _poor(run: RunData) -> Section | None:
    if not run.poor:
        return None
    blocks = []
    for query in run.poor:
        caption = f"{query.query}: {run.metric} {number(query.value)}, {query.documents} documents"
        rows: list[list[Cell]] = [
            [rank, place, doc, f"{label:g}", score] for rank, place, doc, label, score in query.rows
        ]
        blocks.append(Table(["rank", "place", "document", "label", "score"], rows, caption, folded=True))
    text = (
        f"The queries with the {'lowest' if run.higher_is_better else 'highest'} {run.metric}: the documents that the "
        "model ranks first, then the best ones that it ranks lower. Place is where a document stands in the data."
    )
    return Section("Worst queries", text, blocks)


def _explanations(run: RunData) -> Section | None:
    found = run.explanations
    if not found or not found["queries"]:
        return None
    blocks: list[Plot | Table | Facts] = []
    for query in found["queries"]:
        first, second = query["documents"]
        rows: list[list[Cell]] = [[c["name"], *c["cells"], f"{c['adds']:+.4f}"] for c in query["columns"]]
        rows.append(["sum", "", "", f"{first['logit'] - second['logit']:+.4f}"])
        described = (f"{d['document']} (rank {d['rank']}, label {d['label']:g})" for d in (first, second))
        caption = f"{query['query']} ({found['metric']} {number(query['value'])}): why {' is above '.join(described)}"
        blocks.append(Table(["column", first["document"], second["document"], "adds"], rows, caption, folded=True))
    text = (
        "The worst queries, and one of median value: the document that the model ranks first, beside the best one that "
        "it ranks lower, or the second. What each column adds to the difference of their scores: the sum is the "
        "difference. For other documents: ml4ir-losses explain."
    )
    return Section("Why the first document", text, blocks)
