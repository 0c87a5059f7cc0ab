"""Why two libraries give different values of a metric: the gap, split by what they do differently."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ml4ir_losses.config.checks import metric_name
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError, UserError
from ml4ir_losses.core.registry import METRICS, split_spec
from ml4ir_losses.data.batching import BatchPlan
from ml4ir_losses.data.queries import Queries
from ml4ir_losses.data.table import group_by_query
from ml4ir_losses.evaluation.scoring import MetricSet, query_metrics
from ml4ir_losses.metrics.conventions import Convention, ConventionMetrics, convention_metrics

Spec = str | dict[str, Any]
Settings = dict[str, Any]
_OF_CONVENTION = ("tie_order", "precision", "weighs_queries", "empty_weight")
STEPS: dict[str, tuple[str, ...]] = {
    "empty queries": ("empty_queries",),
    "gain": ("gain", "discount", "relevance_threshold"),
    "ties": ("ties", "tie_order", "precision"),
    "cut-off": (),
    "query weights": ("weighs_queries", "empty_weight"),
}
"""The settings that each step changes; `cut-off` changes the rest, such as the denominator of a precision."""
_BATCH = 512  # queries
_NOISE = 1e-6  # values that are closer are equal: metrics are float32


@dataclass(frozen=True)
class Step:
    """One part of the gap.

    Attributes:
        name: `empty queries`, `gain`, `ties`, `cut-off` or `query weights`.
        difference: what it adds to the mean.
        queries: the number of queries whose value or weight it changes.
        changes: the settings that differ, as `name: from → to`.
    """

    name: str
    difference: float
    queries: int
    changes: tuple[str, ...]


@dataclass(frozen=True)
class MetricGap:
    """The values of a metric in two conventions, and the steps from one to the other.

    The differences of the steps sum to `to_value - from_value`. A step is missing where the conventions agree.
    """

    metric: str
    from_convention: str
    to_convention: str
    from_value: float
    to_value: float
    queries: int
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        width = max(len(name) for name in (*STEPS, self.from_convention, self.to_convention))
        lines = [
            f"{self.metric} of {_counted(self.queries)}",
            f"{self.from_convention:<{width}}  {self.from_value:9.6f}",
            *(
                f"{step.name:<{width}}  {step.difference:+9.6f}  {_counted(step.queries)}: {', '.join(step.changes)}"
                for step in self.steps
            ),
            f"{self.to_convention:<{width}}  {self.to_value:9.6f}",
        ]
        return "\n".join(lines)


def explain_metric(
    metric: Spec,
    from_convention: str,
    to_convention: str,
    queries: Sequence[Any] | Array,
    labels: Sequence[float] | Array,
    scores: Sequence[float] | Array,
    *,
    document_ids: Sequence[Any] | Array | None = None,
    query_weights: Sequence[float] | Array | None = None,
    to_metric: Spec | None = None,
    min_label: float = 0.0,
) -> MetricGap:
    """Split the gap between two libraries' values of a metric into empty queries, gain, ties, cut-off and weights.

    The settings of `from_convention` are replaced by those of `to_convention` step by step, in this order; the part of
    a step is what the mean changes by. Each value equals that of the library itself, see docs/conventions.md.

    >>> labels, scores = [2, 1, 0, 0, 0], [0.5, 0.5, 0.9, 0.3, 0.1]
    >>> print(explain_metric("ndcg", "lightgbm", "sklearn", ["a", "a", "a", "b", "b"], labels, scores))
    ndcg of 2 queries
    lightgbm        0.829501
    empty queries  -0.500000  1 query: empty_queries: one → zero
    gain           +0.005335  1 query: gain: pow2_minus_1 → identity
    ties           -0.012441  1 query: ties: order → average
    sklearn         0.322394

    Args:
        metric: the key, or `{key: ..., <parameters>}`; a parameter that it sets itself overrides both conventions.
        from_convention: `tf_ranking`, `lightgbm`, `xgboost`, `sklearn`, `trec_eval`, `allrank` or `ml4ir_losses`.
        to_convention: the other one.
        queries: the query id of each row.
        labels: the label of each row; rows with a label below `min_label` or NaN are left out.
        scores: the score of each row.
        document_ids: the document id of each row, needed for trec_eval.
        query_weights: the weight of the query of each row, the same for all rows of a query.
        to_metric: the metric in the second convention, where its parameters differ: `{key: ndcg, topn: 5}`.

    Raises:
        UserError: for an unknown convention, or a metric that one of the libraries does not have.
        DataError: for columns of different lengths, or missing document ids.
    """
    to_metric = metric if to_metric is None else to_metric
    (key, start), (to_key, end) = _settings(from_convention, metric), _settings(to_convention, to_metric)
    if key != to_key:
        raise UserError(f"The two metrics must be the same with other parameters. Received: {key!r} and {to_key!r}.")
    data = _Rows.of(queries, labels, scores, document_ids, query_weights)
    now = dict(start)
    sums = [data.sums(key, now, min_label)]
    steps = []
    for name in STEPS:
        differing = [setting for setting in start if _step_of(setting) == name and start[setting] != end[setting]]
        now |= {setting: end[setting] for setting in differing}
        if not differing or (name == "query weights" and query_weights is None):
            continue
        sums.append(data.sums(key, now, min_label))
        changes = tuple(f"{setting}: {_shown(start[setting])} → {_shown(end[setting])}" for setting in differing)
        steps.append(Step(name, sums[-1].mean - sums[-2].mean, sums[-1].differing(sums[-2]), changes))
    return MetricGap(
        metric=metric_name(metric),
        from_convention=from_convention,
        to_convention=to_convention,
        from_value=sums[0].mean,
        to_value=sums[-1].mean,
        queries=len(data.queries),
        steps=tuple(steps),
    )


def _settings(convention: str, metric: Spec) -> tuple[str, Settings]:
    """The key of the metric, and its parameters and the rest of the convention in one mapping."""
    metrics = convention_metrics(convention, [metric])
    key, params = split_spec("metric", metrics.specs[0])
    known = metrics.convention
    rest = (known.tie_order, known.precision, known.weighs_queries, known.empty_weight.get(key, "own"))
    return key, {**METRICS[key].parameters, **params, **dict(zip(_OF_CONVENTION, rest, strict=True))}


def _step_of(setting: str) -> str:
    return next((step for step, settings in STEPS.items() if setting in settings), "cut-off")


def _shown(value: Any) -> str:
    return getattr(value, "__name__", str(value))


def _counted(queries: int) -> str:
    return f"{queries:,} {'query' if queries == 1 else 'queries'}"


class _Sums(NamedTuple):
    """What each query adds to the sum of the values and to the sum of the weights, [Q] each."""

    values: Array
    weights: Array

    @property
    def mean(self) -> float:
        total = float(self.weights.sum())
        return float(self.values.sum()) / total if total else 0.0

    def differing(self, other: _Sums) -> int:
        """The number of queries that add something else."""
        changed = [np.abs(a - b) > _NOISE for a, b in zip(self, other, strict=True)]
        return int(np.logical_or(*changed).sum())


class _Rows(NamedTuple):
    """The documents grouped by query, their scores [rows], and the query weights [Q]."""

    queries: Queries
    scores: Array
    document_ids: Array | None
    query_weights: Array | None

    @classmethod
    def of(cls, ids: Any, labels: Any, scores: Any, document_ids: Any, query_weights: Any) -> _Rows:
        """The rows; `DataError` for columns of different lengths and weights that differ within a query."""
        columns = {"queries": ids, "labels": labels, "scores": scores}
        columns |= {"document_ids": document_ids, "query_weights": query_weights}
        arrays = {name: np.asarray(column) for name, column in columns.items() if column is not None}
        shapes = {name: array.shape for name, array in arrays.items()}
        if len(set(shapes.values())) > 1 or arrays["queries"].ndim != 1:
            lengths = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
            raise DataError(f"Each column must have one value per document, [rows]. Received: {lengths}.")
        order, offsets = group_by_query(ids)
        rows = {name: array[order] for name, array in arrays.items()}
        first = offsets[:-1]
        weights = rows.get("query_weights")
        if weights is not None and (weights != np.repeat(weights[first], np.diff(offsets))).any():
            raise DataError("query_weights: the documents of a query must have the same weight.")
        queries = Queries(
            ids=rows["queries"][first],
            offsets=offsets,
            features={},
            labels={"label": rows["labels"].astype("float32")},
            document_ids=rows.get("document_ids", np.arange(len(order))),
        )
        return cls(
            queries, rows["scores"], rows.get("document_ids"), None if weights is None else weights[first].astype(float)
        )

    def sums(self, key: str, settings: Settings, min_label: float) -> _Sums:
        """The metric with these settings."""
        values, weights = self._metric(key, settings, min_label)
        if self.query_weights is None or not settings["weighs_queries"]:
            return _Sums(values * weights, weights)
        alone = weights
        weights = weights * self.query_weights
        if settings["empty_weight"] == "own":
            return _Sums(values * weights, weights)
        counted = self._metric(key, settings | {"empty_queries": "skip"}, min_label)[1] > 0
        empty = (alone > 0) & ~counted
        if settings["empty_weight"] == "value_alone":
            return _Sums(values * np.where(empty, alone, weights), weights)
        weights = np.where(empty, weights[counted].mean() if counted.any() else 1.0, weights)
        return _Sums(values * weights, weights)

    def _metric(self, key: str, settings: Settings, min_label: float) -> tuple[Array, Array]:
        """Values and weights of the queries, [Q] each, without query weights."""
        params = {name: value for name, value in settings.items() if name not in _OF_CONVENTION}
        convention = Convention(tie_order=settings["tie_order"], precision=settings["precision"])
        metrics = ConventionMetrics(convention, [{"key": key, **params}])
        scores = metrics.scores(self.queries.offsets, self.scores, self.document_ids)
        plan = BatchPlan(self.queries, _BATCH, bucketing=True)
        result = query_metrics(MetricSet(metrics.specs, "label", min_label), plan, scores)
        name = metric_name(metrics.specs[0])
        return result.values[name].astype(float), result.weights[name].astype(float)
