"""How much a metric depends on the order of documents with equal scores."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ml4ir_losses.config.checks import metric_name
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.registry import METRICS, split_spec
from ml4ir_losses.data.batching import BatchPlan
from ml4ir_losses.evaluation.scoring import MetricSet, QueryMetrics, joined, query_metrics

_ORDERS = ("average", "worst", "order")
_TOLD = 1e-3  # a smaller difference between orders is not worth a line


class Ties:
    """Counts tied documents, and evaluates their best and worst orders, window by window."""

    def __init__(self, metric_set: MetricSet) -> None:
        self._metric_set = metric_set
        self._metric = next((found for spec in metric_set.metrics if (found := _with_ties(spec))), None)
        self._tied, self._documents = 0, 0
        self._values: dict[str, list[QueryMetrics]] = {order: [] for order in _ORDERS}

    def add(self, plan: BatchPlan, row_scores: Array, values: QueryMetrics) -> None:
        """Adds the queries of a plan, their scores [rows] and their metrics."""
        tied, documents = count_tied(self._metric_set, plan, row_scores)
        self._tied += tied
        self._documents += documents
        if self._metric is None:
            return
        for order, found in self._values.items():  # without ties all orders have the same values
            metrics = [{**self._metric, "ties": order}]
            found.append(
                query_metrics(replace(self._metric_set, metrics=metrics), plan, row_scores) if tied else values
            )

    def note(self) -> str:
        """One line on the ties; empty where no order of them changes the first metric by 0.001."""
        if not self._tied or self._metric is None:
            return ""
        name = metric_name(self._metric)
        average, worst, order = (joined(parts).means()[name] for parts in self._values.values())
        if max(abs(worst - average), abs(order - average)) < _TOLD:
            return ""
        return (
            f"{self._tied / self._documents:.1%} of the documents have the score of another one with a different "
            f"label: {name} is {average:.4f} on average over their orders, {worst:.4f} in the worst, {order:.4f} in "
            "that of the data"
        )


def count_tied(metric_set: MetricSet, plan: BatchPlan, row_scores: Array) -> tuple[int, int]:
    """(documents whose score [rows] is that of another one of their query with a different label, all documents)."""
    kept, queries = [], []
    for batch in plan.batches():
        index, mask = plan.rows(batch)
        kept.append(index[mask])
        queries.append(np.repeat(batch, mask[: len(batch)].sum(axis=1)))
    rows, query = np.concatenate(kept), np.concatenate(queries)
    label, score = plan.data.labels[metric_set.label][rows], row_scores[rows].astype("float32")
    counted = (label >= metric_set.min_label) & (score > -np.inf)
    if not counted.any():
        return 0, 0
    return tied_documents(query[counted], label[counted], score[counted]), int(counted.sum())


def tied_documents(query: Array, label: Array, score: Array) -> int:
    """How many documents have the score of another one of their query with a different label; all are [rows]."""
    order = np.lexsort((score, query))
    query, label, score = query[order], label[order], score[order]
    first = np.flatnonzero(np.r_[True, (query[1:] != query[:-1]) | (score[1:] != score[:-1])])
    differ = np.maximum.reduceat(label, first) > np.minimum.reduceat(label, first)
    return int(np.diff(np.r_[first, len(score)])[differ].sum())


def _with_ties(spec: Any) -> dict[str, Any] | None:
    """The metric as a mapping, if it knows the worst order of ties."""
    key, params = split_spec("metric", spec)
    try:
        METRICS[key].check_parameters("metric", {**params, "ties": "worst"})
    except UserError:
        return None
    return {"key": key, **params}
