"""Means, intervals and comparisons from the values of each query."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.evaluation.click_metrics import CLICK_METRICS
from ml4ir_losses.evaluation.evaluation import SMALL_GROUP, Difference, Estimate, Evaluation, Group, Groups, Interval
from ml4ir_losses.evaluation.scoring import QueryMetrics, lower_is_better
from ml4ir_losses.evaluation.statistics import bootstrap, interval, randomisation_p

_EMPTY = "(empty)"
_NOISE = 1e-6  # values of a query that are closer are equal: metrics are float32


def summarize(
    values: QueryMetrics,
    *,
    baseline: QueryMetrics | None = None,
    groups: Array | None = None,
    column: str = "",
) -> Evaluation:
    """The evaluation of values per query; `baseline` and `groups` [Q] are of the same queries in the same order."""
    notes = []
    if len(values.ids) < 2:
        notes.append("there is one query: a 95% interval and a test need at least 2")
    return Evaluation(
        name="",
        data="",
        queries=len(values.ids),
        documents=None,
        estimates=estimates(values),
        main=list(values.values),
        per_query=values,
        differences={} if baseline is None else _differences(values, baseline),
        groups=None if groups is None else _grouped(values, groups, column),
        notes=notes,
    )


def estimates(values: QueryMetrics) -> dict[str, Estimate]:
    """Mean, interval and number of queries of each metric."""
    means = values.means()
    counted = {name: weights > 0 for name, weights in values.weights.items()}
    spread = {
        name: _influence(values.values[name][rows], values.weights[name][rows], means[name])
        for name, rows in counted.items()
    }
    intervals = _intervals(spread, {name: rows.tobytes() for name, rows in counted.items()}, skewed=True)
    found = {}
    for name, rows in counted.items():
        limits = intervals[name]
        if limits is not None:  # widened for few queries, it could leave the range of the values
            low, high = np.clip(limits, values.values[name][rows].min(), values.values[name][rows].max())
            limits = float(low), float(high)
        found[name] = Estimate(means[name], limits, len(spread[name]), len(rows) - len(spread[name]))
    return found


def _influence(values: Array, weights: Array, mean: float) -> Array:
    """Numbers, one per query, whose plain mean is the weighted mean and whose spread is that of the weighted mean.

    mean + w / w̄ · (v - mean): the values themselves where all weights are equal.
    """
    v, w = values.astype(float), weights.astype(float)
    return v if not len(v) or (w == w[0]).all() else mean + w / w.mean() * (v - mean)


def _intervals(values: Mapping[str, Array], queries: Mapping[str, bytes], *, skewed: bool) -> dict[str, Interval]:
    """The 95% interval of each mean, None below two queries; metrics with the same `queries` share the resamples."""
    found: dict[str, Interval] = {}
    for same in dict.fromkeys(queries.values()):
        names = [name for name in values if queries[name] == same]
        stacked = np.stack([values[name] for name in names])[:, None, :]
        few = stacked.shape[-1] < 2
        deviations = None if few else bootstrap(stacked)
        for i, name in enumerate(names):
            found[name] = None if deviations is None else interval(stacked[i], deviations[:, i], skewed=skewed)
    return found


def _differences(model: QueryMetrics, baseline: QueryMetrics) -> dict[str, Difference]:
    """The model minus the baseline by metric, over the queries that count for both."""
    found: dict[str, Difference] = {}
    spread: dict[str, Array] = {}
    queries: dict[str, bytes] = {}
    for name in model.values:
        counted = (model.weights[name] > 0) & (baseline.weights[name] > 0)
        weights = model.weights[name][counted].astype(float)
        ours, theirs = (part.values[name][counted].astype(float) for part in (model, baseline))
        found[name], spread[name] = _difference(name, ours, theirs, weights)
        queries[name] = counted.tobytes()
    for name, limits in _intervals(spread, queries, skewed=False).items():
        found[name].interval = limits
    return found


def _difference(name: str, ours: Array, theirs: Array, weights: Array) -> tuple[Difference, Array]:
    """The difference without its interval, and the numbers from which the interval follows."""
    if not len(ours):
        return Difference(0.0, 0.0, None, None, 0, 0, 0), ours
    share, gap = weights / weights.mean(), ours - theirs
    mean = float((share * gap).mean())
    better = -gap if name in CLICK_METRICS or lower_is_better(name) else gap
    difference = Difference(
        baseline=float((share * theirs).mean()),
        difference=mean,
        interval=None,
        p=float(randomisation_p(np.stack([share * ours, share * theirs])[:, None, :])[0, 1]) if len(ours) > 1 else None,
        wins=int((better > _NOISE).sum()),
        ties=int((np.abs(better) <= _NOISE).sum()),
        losses=int((better < -_NOISE).sum()),
    )
    return difference, _influence(gap, weights, mean)


def _grouped(values: QueryMetrics, groups: Array, column: str) -> Groups:
    names, codes = np.unique(np.where(groups == "", _EMPTY, groups).astype(str), return_inverse=True)
    order = np.argsort(codes, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(codes))[:-1])
    found = []
    for name, rows in zip(names, parts, strict=True):
        part = QueryMetrics(
            {metric: column_[rows] for metric, column_ in values.values.items()},
            {metric: weights[rows] for metric, weights in values.weights.items()},
            values.ids[rows],
        )
        found.append(Group(str(name), len(rows), len(rows) < SMALL_GROUP, estimates(part)))
    found.sort(key=lambda group: -group.queries)
    macro = {}
    for metric in values.values:
        means = [group.metrics[metric].mean for group in found if group.metrics[metric].queries]
        macro[metric] = float(np.mean(means)) if means else 0.0
    return Groups(column, found, macro)
