"""Per-query metrics of model scores, and their means."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from ml4ir_losses.config.base import Spec
from ml4ir_losses.config.checks import metric_name
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.names import PADDING_LABEL
from ml4ir_losses.core.registry import METRICS, split_spec
from ml4ir_losses.data.batching import BatchPlan, pad
from ml4ir_losses.data.queries import Queries


def lower_is_better(name: str) -> bool:
    """True for a loss, or a metric that is to be minimized: `arp`, `arp_10`, `val_loss`."""
    key = re.sub(r"_\d+$", "", name.removeprefix("val_"))
    return key == "loss" or (key in METRICS and bool(METRICS[key].trait("lower_is_better", False)))


@dataclass
class QueryMetrics:
    """Values [Q] and weights [Q] of each metric, and the ids [Q] of the queries; those of weight 0 are excluded."""

    values: dict[str, Array]
    weights: dict[str, Array]
    ids: Array

    def means(self) -> dict[str, float]:
        """The weighted mean of each metric; 0 if all weights are 0."""
        return {
            name: float(np.average(values.astype(float), weights=weights))
            if (weights := self.weights[name].astype(float)).any()
            else 0.0
            for name, values in self.values.items()
        }

    def rows(self) -> Iterator[list[Any]]:
        """CSV rows (query id, value of each metric); a value is empty if its weight is 0."""
        for i, query in enumerate(self.ids):
            yield [query, *(v[i] if self.weights[n][i] else None for n, v in self.values.items())]


def joined(parts: Sequence[QueryMetrics]) -> QueryMetrics:
    """The values of several parts, one after another."""
    names = list(parts[0].values)
    return QueryMetrics(
        {name: np.concatenate([part.values[name] for part in parts]) for name in names},
        {name: np.concatenate([part.weights[name] for part in parts]) for name in names},
        np.concatenate([part.ids for part in parts]),
    )


@dataclass(frozen=True)
class MetricSet:
    """The metrics of a run and their label column; labels below `min_label` are padding."""

    metrics: Sequence[Spec]
    label: str
    min_label: float = 0.0


def query_metrics(metric_set: MetricSet, plan: BatchPlan, row_scores: Array) -> QueryMetrics:
    """Per-query metrics, from one score per row."""
    return compare_scores(metric_set, plan, row_scores[:, None])[0]


def compare_scores(metric_set: MetricSet, plan: BatchPlan, row_scores: Array) -> list[QueryMetrics]:
    """Per-query metrics for each of K score columns, row_scores [rows, K]."""
    specs, label, min_label = metric_set.metrics, metric_set.label, metric_set.min_label
    data, count = plan.data, row_scores.shape[1]
    parts: dict[str, list[tuple[Array, Array]]] = {metric_name(spec): [] for spec in specs}
    order: list[Array] = []
    for batch in plan.batches():
        index, mask = plan.rows(batch)
        labels = np.tile(pad(data.labels[label], index, mask, PADDING_LABEL), (count, 1))
        valid = np.tile(mask, (count, 1)) & (labels >= min_label)
        scores = np.moveaxis(pad(row_scores, index, mask), -1, 0).reshape(labels.shape)
        order.append(batch)
        for spec in specs:
            key, params = split_spec("metric", spec)
            result = METRICS[key].target(labels, scores, valid, **params)
            values, weights = (ops.convert_to_numpy(part).reshape(count, -1)[:, : len(batch)] for part in result)
            parts[metric_name(spec)].append((values, weights))
    positions = np.argsort(np.concatenate(order))
    values, weights = (
        {name: np.concatenate([pair[i] for pair in part], axis=1)[:, positions] for name, part in parts.items()}
        for i in (0, 1)
    )
    return [
        QueryMetrics({n: v[k] for n, v in values.items()}, {n: w[k] for n, w in weights.items()}, data.ids)
        for k in range(count)
    ]


def prediction_rows(data: Queries, scored: Any, label: str) -> Iterator[list[Any]]:
    """(query id, document id, label, logit, score, rank) of every kept document; ranks come from the logits.

    Args:
        data: the queries.
        scored: `logits`, `scores` and `kept`, [rows] each.
        label: the label column.
    """
    labels = data.labels.get(label)
    for q, query in enumerate(data.ids):
        start, end = data.offsets[q], data.offsets[q + 1]
        rows = np.arange(start, end)[scored.kept[start:end]]
        ranks = np.empty(len(rows), int)
        ranks[np.argsort(-scored.logits[rows], kind="stable")] = np.arange(1, len(rows) + 1)
        for row, rank in zip(rows, ranks, strict=True):
            y = None if labels is None or np.isnan(labels[row]) else f"{labels[row]:g}"
            yield [query, data.document_ids[row], y, scored.logits[row], scored.scores[row], rank]


PREDICTION_HEADER = ("query_id", "document_id", "label", "logit", "score", "rank")


def missed_metrics(expected: dict[str, float], measured: dict[str, float]) -> Iterable[str]:
    """One message for each metric that is below its bound (above it if lower is better)."""
    for name, bound in expected.items():
        lower = lower_is_better(name)
        if measured[name] > bound if lower else measured[name] < bound:
            yield f"{name} is {measured[name]:.4f}; expected at {'most' if lower else 'least'} {bound:g}"
