"""Baselines without a model: random order, the order of the data, and the best single feature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ml4ir_losses.config.checks import metric_name
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.data.batching import BatchPlan
from ml4ir_losses.data.queries import Queries
from ml4ir_losses.data.table import places
from ml4ir_losses.evaluation.scoring import MetricSet, QueryMetrics, compare_scores, lower_is_better, query_metrics
from ml4ir_losses.evaluation.tied_scores import tie_note
from ml4ir_losses.features.fitted import FittedInput

DRAWS = 10
MAX_QUERIES = 500  # training queries on which the feature is chosen
_CHUNK = 16  # rankings evaluated together: a metric may take memory B·N² for each


def random_baseline(metric_set: MetricSet, plan: BatchPlan, seed: int = 0) -> QueryMetrics:
    """The mean of each metric over seeded random orders of each query."""
    scores = np.random.default_rng(seed).random((plan.data.rows, DRAWS), "float32")
    draws = compare_scores(metric_set, plan, scores)
    means = {name: np.mean([draw.values[name] for draw in draws], axis=0) for name in draws[0].values}
    return replace(draws[0], values=means)


def original_order_baseline(metric_set: MetricSet, plan: BatchPlan) -> QueryMetrics:
    """Each metric if documents keep the order in which the data list them."""
    return query_metrics(metric_set, plan, -places(plan.data.offsets).astype("float32"))


def best_feature_baseline(
    metric_set: MetricSet, inputs: Sequence[FittedInput], train: Queries, test: BatchPlan
) -> tuple[str, QueryMetrics] | None:
    """(feature, its metrics on the test plan), None without numeric document features.

    The column and its direction, ascending or descending, are those with the best first metric on the training split.
    """
    rankings = [
        (fitted.name, i, column, direction)
        for fitted in inputs
        if fitted.type == "numeric" and fitted.scope == "document"
        for i, column in enumerate(fitted.columns)
        for direction in (1.0, -1.0)
    ]
    if not rankings:
        return None
    plan = BatchPlan(train.take(np.arange(min(len(train), MAX_QUERIES))), 32, compiled_epochs=test.compiled_epochs)
    first = replace(metric_set, metrics=metric_set.metrics[:1])
    name = metric_name(metric_set.metrics[0])
    values: list[float] = []
    for start in range(0, len(rankings), _CHUNK):
        chunk = rankings[start : start + _CHUNK]
        scores = np.stack([_scores(plan.data.features[n][:, i], d) for n, i, _, d in chunk], axis=1)
        values += [result.means()[name] for result in compare_scores(first, plan, scores)]
    best = int(np.argmin(values) if lower_is_better(name) else np.argmax(values))
    n, i, column, direction = rankings[best]
    scores = _scores(test.data.features[n][:, i], direction)
    feature = f"{column} {'descending' if direction > 0 else 'ascending'}"
    if note := tie_note(metric_set, test, scores):
        LOGGER.info("best feature (%s): %s", feature, note)
    return feature, query_metrics(metric_set, test, scores)


def _scores(values: Array, direction: float) -> Array:
    """The feature as a score; missing values rank last."""
    lowest: Any = np.finfo("float32").min
    return np.where(np.isnan(values), lowest, direction * values)
