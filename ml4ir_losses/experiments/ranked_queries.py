"""What the predictions of a run tell about its queries: cut-offs, list lengths, scores by label, the worst queries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from ml4ir_losses.config.base import Spec
from ml4ir_losses.config.checks import metric_name
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.registry import METRICS, split_spec
from ml4ir_losses.data.batching import BatchPlan
from ml4ir_losses.data.queries import Queries
from ml4ir_losses.data.table import group_by_query, places
from ml4ir_losses.evaluation.calibration import Calibration, CalibrationResult, ProbabilityOf
from ml4ir_losses.evaluation.scored_lists import ScoredLists
from ml4ir_losses.evaluation.scoring import MetricSet, QueryMetrics, compare_scores, lower_is_better
from ml4ir_losses.experiments.run_tables import check_range
from ml4ir_losses.report.run_page import PoorQuery

CUTOFFS = (1, 3, 5, 10, 20, 50, 100)
MAX_QUERIES = 5_000  # a seeded sample of more
TOP_DOCUMENTS, MISSED_DOCUMENTS = 5, 3
_LABELS = 10  # more labels are grouped
_BATCH = 256  # queries evaluated together
_TYPES = {
    "query_id": pa.string(),
    "document_id": pa.string(),
    "label": pa.float64(),
    "logit": pa.float64(),
    "score": pa.float64(),
}
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass
class RankedQueries:
    """The queries of `predictions.csv` with their metrics, for the model and for the order of the data.

    Attributes:
        data: the queries; their only label is `label`.
        logits: [rows].
        total: the number of queries in the file, of which `data` may be a sample.
        cutoffs: the cut-offs of the metrics.
        specs: the metrics that have cut-offs, by key.
        main: the name of the main metric.
        model, original: metrics of the model and of the order of the data.
    """

    data: Queries
    logits: Array
    total: int
    cutoffs: Sequence[int]
    specs: dict[str, dict[str, Any]]
    main: str
    min_label: float
    model: QueryMetrics
    original: QueryMetrics

    @classmethod
    def read(cls, path: Path, metrics: Sequence[Spec], min_label: float) -> RankedQueries:
        """The queries of a file written by `predict`, evaluated by the metrics of a config at several cut-offs.

        Raises:
            DataError: for another file, or one without documents.
        """
        data, total = _read_queries(path)
        specs = _with_cutoffs(metrics)
        own = [spec["topn"] for spec in specs.values() if spec.get("topn")]
        longest = int(data.sizes.max())
        cutoffs = sorted({cut for cut in (*CUTOFFS, *own) if cut <= longest})
        wanted: list[Spec] = [{**spec, "topn": cut} for spec in specs.values() for cut in cutoffs]
        main = metric_name(metrics[0])
        if main not in map(metric_name, wanted):
            wanted.append(metrics[0])
        logits = data.features["logit"]
        scores = np.stack([logits, -places(data.offsets).astype("float32")], axis=1)
        metric_set = MetricSet(wanted, "label", min_label)
        model, original = compare_scores(metric_set, BatchPlan(data, _BATCH), scores)
        return cls(data, logits, total, cutoffs, specs, main, min_label, model, original)

    @property
    def original_is_sorted(self) -> bool:
        """True if the data are sorted by label, so that their order is no baseline."""
        labels = self.data.labels["label"]
        falls = np.diff(labels) <= 0
        falls[self.data.offsets[1:-1] - 1] = True
        return bool(falls.all())

    def by_grade(self) -> dict[str, list[float]]:
        """Five quantiles of the scores of each label, less the mean score of their query."""
        labels, starts = self.data.labels["label"], self.data.offsets[:-1]
        retrieved = np.isfinite(self.logits)
        total = np.add.reduceat(np.where(retrieved, self.logits, 0.0).astype(float), starts)
        means = total / np.maximum(np.add.reduceat(retrieved.astype(int), starts), 1)
        valid = (labels >= self.min_label) & retrieved
        centred = self.logits - np.repeat(means, self.data.sizes)
        labels, centred = labels[valid], centred[valid]
        grades = np.unique(labels)
        if len(grades) <= _LABELS:
            groups = {f"{grade:g}": labels == grade for grade in grades}
        else:
            edges = np.unique(np.quantile(labels, np.linspace(0, 1, 6)))
            place = np.clip(np.searchsorted(edges, labels, side="right") - 1, 0, len(edges) - 2)
            groups = {f"{edges[i]:.3g} to {edges[i + 1]:.3g}": place == i for i in range(len(edges) - 1)}
        return {name: np.quantile(centred[group], QUANTILES).tolist() for name, group in groups.items() if group.any()}

    def by_length(self, groups: int = 4) -> Iterator[tuple[str, QueryMetrics, QueryMetrics]]:
        """(range of list sizes, the main metric of the model, of the order of the data) of groups of like size."""
        sizes, counts = self.data.sizes, self.model.weights[self.main] > 0
        if not counts.any():
            return
        edges = np.unique(np.quantile(sizes[counts], np.linspace(0, 1, groups + 1)).round().astype(int))
        for i, (low, high) in enumerate(pairwise(edges)):
            first = low if i == 0 else low + 1
            mask = counts & (sizes >= first) & (sizes <= high)
            if mask.any():
                name = str(first) if first == high else f"{first}–{high}"
                yield name, self._main(self.model, mask), self._main(self.original, mask)

    def _main(self, metrics: QueryMetrics, mask: Array) -> QueryMetrics:
        """The main metric of the queries of a boolean mask [Q]."""
        values, weights = metrics.values[self.main][mask], metrics.weights[self.main][mask]
        return QueryMetrics({self.main: values}, {self.main: weights}, metrics.ids[mask])

    def calibration(self, of: ProbabilityOf) -> CalibrationResult | str:
        """The calibration of the scores, or why there is none."""
        labels, scores = self.data.labels["label"], self.data.features["score"]
        lists = ScoredLists(self.data.ids, self.data.offsets, labels, self.logits, self.data.document_ids)
        collected = Calibration(of)
        collected.add(replace(lists, probabilities=scores))
        return collected.result()

    def poor(self, count: int) -> list[PoorQuery]:
        """The queries with the worst values of the main metric, the longest lists first among equal values."""
        values, weights = self.model.values[self.main], self.model.weights[self.main]
        sign = -1.0 if lower_is_better(self.main) else 1.0
        order = np.lexsort((-self.data.sizes, sign * values))
        return [self._poor(int(q), float(values[q])) for q in order[weights[order] > 0][:count]]

    def _poor(self, q: int, value: float) -> PoorQuery:
        rows = np.arange(self.data.offsets[q], self.data.offsets[q + 1])
        ranked = rows[np.argsort(-self.logits[rows], kind="stable")]
        labels = self.data.labels["label"]
        rest = ranked[TOP_DOCUMENTS:]
        missed = rest[np.argsort(-labels[rest], kind="stable")][:MISSED_DOCUMENTS]
        rank = {int(row): i for i, row in enumerate(ranked, start=1)}
        shown = [
            *ranked[:TOP_DOCUMENTS],
            *(row for row in missed if labels[row] > labels[ranked[:TOP_DOCUMENTS]].min()),
        ]
        return PoorQuery(
            str(self.data.ids[q]),
            value,
            len(rows),
            [
                (
                    rank[int(row)],
                    int(row - rows[0]) + 1,
                    str(self.data.document_ids[row]),
                    float(labels[row]),
                    float(self.logits[row]),
                )
                for row in shown
            ],
        )


def _read_queries(path: Path) -> tuple[Queries, int]:
    """Queries of the file, all or `MAX_QUERIES` random ones, and the number of all; the file may exceed the memory."""
    try:
        table, total = _read_rows(path)
    except (OSError, ValueError, KeyError) as error:  # what pyarrow raises for a damaged file
        raise DataError(f"{path}: cannot be read as predictions ({error}).") from None
    if not len(table):
        raise DataError(f"{path}: holds no documents.")
    columns = {name: table[name].to_numpy() for name in _TYPES}
    for name in ("label", "logit", "score"):
        check_range(path, name, columns[name])
    order, offsets = group_by_query(columns["query_id"])
    queries = Queries(
        ids=columns["query_id"][order[offsets[:-1]]],
        offsets=offsets,
        features={name: columns[name][order].astype("float32") for name in ("logit", "score")},
        labels={"label": columns["label"][order].astype("float32")},
        document_ids=columns["document_id"][order],
    )
    return queries, total


def _read_rows(path: Path) -> tuple[Any, int]:
    """The rows of the chosen queries, and the number of all queries."""
    numbers: dict[str, int] = {}
    for batch in _batches(path, ["query_id"]):
        for query in batch.column("query_id").unique().to_pylist():
            numbers.setdefault(query, len(numbers))
    total = len(numbers)
    chosen = np.random.default_rng(0).permutation(total)[:MAX_QUERIES] if total > MAX_QUERIES else np.arange(total)
    ids = pa.array(np.array(list(numbers), object)[chosen], pa.string())
    batches = [batch.filter(pc.is_in(batch.column("query_id"), ids)) for batch in _batches(path, [*_TYPES])]
    return pa.Table.from_batches(batches), total


def _batches(path: Path, columns: Sequence[str]) -> Iterator[Any]:
    """Columns of the file, some rows at a time."""
    convert = pacsv.ConvertOptions(column_types=_TYPES, include_columns=columns)
    with pacsv.open_csv(
        path, convert_options=convert, parse_options=pacsv.ParseOptions(newlines_in_values=True)
    ) as file:
        yield from file


def _with_cutoffs(metrics: Sequence[Spec]) -> dict[str, dict[str, Any]]:
    """The metrics that have a cut-off, by key; of several with one key the first."""
    specs: dict[str, dict[str, Any]] = {}
    for spec in metrics:
        key, params = split_spec("metric", spec)
        if "topn" in METRICS[key].parameters:
            specs.setdefault(METRICS[key].key, {"key": key, **params})
    return specs
