"""Baselines without a model: random order, the order of the data, and the best single feature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ml4ir_losses.config.checks import metric_name
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.data.batching import BatchPlan, EpochPlan
from ml4ir_losses.data.queries import Queries
from ml4ir_losses.data.table import places
from ml4ir_losses.evaluation.scoring import (
    MetricSet,
    QueryMetrics,
    compare_scores,
    joined,
    lower_is_better,
    query_metrics,
)
from ml4ir_losses.evaluation.tied_scores import Ties
from ml4ir_losses.features.fitted import FittedInput

DRAWS = 10
MAX_QUERIES = 500  # training queries on which the feature is chosen
_CHUNK = 16  # rankings evaluated together: a metric may take memory B·N² for each


class FeatureOrder(NamedTuple):
    """Documents ranked by a number of an input, descending (direction 1) or ascending (-1)."""

    fitted: FittedInput
    column: str
    direction: float

    @property
    def name(self) -> str:
        """The name of the baseline."""
        return f"best feature ({self.column} {'descending' if self.direction > 0 else 'ascending'})"

    def scores(self, data: Queries) -> Array:
        """The feature as a score, [rows]; missing values rank last."""
        values = self.fitted.rankings(data.features[self.fitted.name])[self.column]
        lowest: Any = np.finfo("float32").min
        return np.where(np.isnan(values), lowest, self.direction * values)


def judge_baselines(
    metric_set: MetricSet, plan: EpochPlan, feature: FeatureOrder | None, seed: int = 0
) -> dict[str, QueryMetrics]:
    """The values per query of each baseline, by name: a random order, the order of the data, and that by a feature."""
    found: dict[str, list[QueryMetrics]] = {}
    rng, ties = np.random.default_rng(seed), Ties(metric_set)
    for window in plan.windows():
        found.setdefault("random", []).append(random_baseline(metric_set, window, rng))
        found.setdefault("original order", []).append(original_order_baseline(metric_set, window))
        if feature is not None:
            scores = feature.scores(window.data)
            values = query_metrics(metric_set, window, scores)
            found.setdefault(feature.name, []).append(values)
            ties.add(window, scores, values)
    if feature is not None and (note := ties.note()):
        LOGGER.info("%s: %s", feature.name, note)
    return {name: joined(parts) for name, parts in found.items()}


def random_baseline(metric_set: MetricSet, plan: BatchPlan, rng: np.random.Generator) -> QueryMetrics:
    """The mean of each metric over random orders of each query."""
    draws = compare_scores(metric_set, plan, rng.random((plan.data.rows, DRAWS), "float32"))
    means = {name: np.mean([draw.values[name] for draw in draws], axis=0) for name in draws[0].values}
    return replace(draws[0], values=means)


def original_order_baseline(metric_set: MetricSet, plan: BatchPlan) -> QueryMetrics:
    """Each metric if documents keep the order in which the data list them."""
    return query_metrics(metric_set, plan, -places(plan.data.offsets).astype("float32"))


def best_feature(
    metric_set: MetricSet, inputs: Sequence[FittedInput], train: Queries, compiled_epochs: int | None = None
) -> FeatureOrder | None:
    """The numeric document feature, and its direction, with the best first metric on training queries; None: none."""
    orders = [
        FeatureOrder(fitted, column, direction)
        for fitted in inputs
        if fitted.scope == "document"
        for column in fitted.rankings(train.features[fitted.name])
        for direction in (1.0, -1.0)
    ]
    if not orders:
        return None
    plan = BatchPlan(train, 32, compiled_epochs=compiled_epochs)
    first = replace(metric_set, metrics=metric_set.metrics[:1])
    name = metric_name(metric_set.metrics[0])
    values: list[float] = []
    for start in range(0, len(orders), _CHUNK):
        scores = np.stack([order.scores(train) for order in orders[start : start + _CHUNK]], axis=1)
        values += [result.means()[name] for result in compare_scores(first, plan, scores)]
    return orders[int(np.argmin(values) if lower_is_better(name) else np.argmax(values))]
