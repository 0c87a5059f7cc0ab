"""A few queries of a finished run whose first document is explained, for the report."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from ml4ir_losses.config.checks import metric_name
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.data.batching import BatchPlan, make_inputs
from ml4ir_losses.data.truncation import Truncation
from ml4ir_losses.evaluation.scoring import lower_is_better
from ml4ir_losses.experiments.explaining import explain_inputs
from ml4ir_losses.experiments.feature_experiment import FeatureExperiment
from ml4ir_losses.experiments.run_tables import as_numbers, read_columns

WORST, COLUMNS = 3, 8  # queries, and columns of each that are named
_BUDGET = 20_000  # documents scored for each query


def explained_queries(experiment: FeatureExperiment, part: str, folder: Path) -> dict[str, Any] | None:
    """Why the model's first document is above another one, in the worst queries and in one of median value.

    The other document is the best one that is ranked lower if its label is higher, else the second. None for models
    that read pairs of texts, whose scoring takes long.

    Returns:
        `{"metric", "queries": [{"query", "value", "method", "documents": [{"document", "rank", "label", "logit"}],
        "columns": [{"name", "cells", "adds", "error"}]}]}`
    """
    if any(fitted.type == "text_pair" for fitted in experiment.model.fitted):
        return None
    metric = metric_name(experiment.config.model.metrics[0])
    values = as_numbers(folder, "per_query.csv", {metric: read_columns(folder, "per_query.csv")[metric]})[metric]
    data = experiment.queries[part]
    usable = np.flatnonzero(np.isfinite(values) & (data.sizes > 1))
    sign = -1.0 if lower_is_better(metric) else 1.0
    order = usable[np.lexsort((-data.sizes[usable], sign * values[usable]))]
    middle = order[[len(order) // 2]] if len(order) > WORST + 1 else order[:0]
    found = [_explained(experiment, part, int(q), float(values[q])) for q in (*order[:WORST], *middle)]
    return {"metric": metric, "queries": found} if found else None


def _explained(experiment: FeatureExperiment, part: str, query: int, value: float) -> dict[str, Any]:
    data = experiment.queries[part].take(np.array([query]))
    plan = BatchPlan(data, 1, truncation=Truncation(experiment.config.data.max_list_size))
    rows, mask = plan.rows(np.array([0]))
    x = make_inputs(data, np.array([0]), rows, mask)
    labels = data.labels[experiment.config.features.label][rows[0]]
    pair = _compared(np.asarray(experiment.model.predict_on_batch(x)["logit"])[0], labels)
    ids = [str(name) for name in data.document_ids[rows[0]]]
    found = explain_inputs(experiment.model, x, pair, query=str(data.ids[0]), ids=ids, budget=_BUDGET)
    documents = zip(found.documents, found.ranks, found.logits, pair, strict=True)
    return {
        "query": found.query,
        "value": value,
        "method": found.method,
        "documents": [
            {"document": name, "rank": int(rank), "label": float(labels[row]), "logit": float(logit)}
            for name, rank, logit, row in documents
        ],
        "columns": [
            {"name": name, "cells": [one, other], "adds": adds, "error": error if math.isfinite(error) else None}
            for name, one, other, adds, error in found.comparison(COLUMNS)
        ],
    }


def _compared(logits: Array, labels: Array) -> list[int]:
    """The first document, and the one that it is compared with."""
    first, *others = np.argsort(-logits, kind="stable")
    best = max(others, key=lambda row: labels[row])  # of equal labels the first in rank
    return [int(first), int(best if labels[best] > labels[first] else others[0])]
