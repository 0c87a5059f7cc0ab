"""Importance of the inputs of a run: how much a metric falls when one column is shuffled within its queries."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ml4ir_losses.config.checks import metric_name
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.data.batching import BatchPlan, make_inputs
from ml4ir_losses.data.queries import Queries
from ml4ir_losses.data.streaming.store import QueryStore
from ml4ir_losses.data.truncation import Truncation
from ml4ir_losses.evaluation.scoring import MetricSet, compare_scores, lower_is_better
from ml4ir_losses.features.fitted import FittedInput

DOCUMENTS = 200_000  # documents scored in all: they set the number of queries and of repeats
SECONDS = 2.0  # no further repeat begins after that time
MAX_QUERIES, MIN_QUERIES, MAX_REPEATS = 200, 20, 5
_DOCUMENTS_AT_ONCE = 16_384
_TOGETHER = 16  # rankings evaluated together: a metric may take memory B·N² for each


@dataclass(frozen=True)
class Column:
    """A column of the data, and where inputs hold it: the name of an input, and the index there (None: all of it)."""

    name: str
    places: Sequence[tuple[str, int | None]]


def document_columns(inputs: Sequence[FittedInput]) -> list[Column]:
    """The columns that differ between the documents of a query; a pair of texts is one."""
    places: dict[str, list[tuple[str, int | None]]] = {}  # several inputs may read one column
    for fitted in inputs:
        if fitted.scope == "document":
            name = fitted.columns[0] if len(fitted.columns) == 1 else fitted.name
            for i, column in enumerate(fitted.numbers or [name]):
                places.setdefault(column, []).append((fitted.name, i if fitted.numbers else None))
    return [Column(name, found) for name, found in places.items()]


def permutation_importance(
    model: Any, metric_set: MetricSet, data: Queries | QueryStore, truncation: Truncation, seed: int = 0
) -> dict[str, Any] | None:
    """The fall of the first metric for each shuffled column, most important first; None without such columns.

    None for models that read pairs of texts, too: each pair is one input, and scoring it takes long.

    `{"metric", "value", "queries", "documents", "repeats", "seconds", "columns": [{"name", "drop", "lowest",
    "highest"}]}`, measured on a seeded sample of queries; `lowest` and `highest` are over the repeats.

    Source: Breiman, "Random forests" (2001), here within queries, since only the order within a query counts.
    """
    columns = document_columns(model.fitted)
    if not columns or not data.rows or any(fitted.type == "text_pair" for fitted in model.fitted):
        return None
    started, rng = time.perf_counter(), np.random.default_rng(seed)
    sample = _sample(data, truncation, len(columns), rng)
    plan = BatchPlan(sample, len(sample), truncation=truncation)
    first = replace(metric_set, metrics=metric_set.metrics[:1])
    name = metric_name(first.metrics[0])
    sign = -1.0 if lower_is_better(name) else 1.0
    limit = DOCUMENTS // (sample.rows * len(columns))
    drops: list[Array] = []
    value = 0.0
    while len(drops) < max(1, min(MAX_REPEATS, limit)) and (not drops or time.perf_counter() - started < SECONDS):
        scores = _shuffled_scores(model, plan, columns, rng)
        value, *shuffled = (
            result.means()[name]
            for i in range(0, scores.shape[1], _TOGETHER)
            for result in compare_scores(first, plan, scores[:, i : i + _TOGETHER])
        )
        drops.append(sign * (value - np.array(shuffled)))
    rows = [
        {"name": column.name, "drop": float(d.mean()), "lowest": float(d.min()), "highest": float(d.max())}
        for column, d in zip(columns, np.stack(drops, axis=1), strict=True)
    ]
    return {
        "metric": name,
        "value": value,
        "queries": len(sample),
        "documents": sample.rows,
        "repeats": len(drops),
        "seconds": round(time.perf_counter() - started, 2),
        "columns": sorted(rows, key=lambda row: -row["drop"]),
    }


def _sample(data: Queries | QueryStore, truncation: Truncation, columns: int, rng: np.random.Generator) -> Queries:
    """As many random queries as the number of documents to score allows."""
    kept = data.sizes if truncation.max_list_size is None else np.minimum(data.sizes, truncation.max_list_size)
    size = int(np.clip(DOCUMENTS / (columns * kept.mean()), MIN_QUERIES, MAX_QUERIES))
    return data.take(np.sort(rng.permutation(len(data))[:size]))


def _shuffled_scores(model: Any, plan: BatchPlan, columns: list[Column], rng: np.random.Generator) -> Array:
    """Logits [rows, 1 + columns] of all documents: as they are, then with each column shuffled within its queries."""
    batch = np.arange(len(plan.data))
    index, mask = plan.rows(batch)
    x = make_inputs(plan.data, batch, index, mask)
    order = np.argsort(np.where(mask, rng.random(mask.shape), 2.0), axis=1)  # padding stays at the end
    scores = np.zeros((plan.data.rows, 1 + len(columns)), "float32")
    together = max(1, _DOCUMENTS_AT_ONCE // mask.size)
    variants: list[Column | None] = [None, *columns]
    for start in range(0, len(variants), together):
        part = variants[start : start + together]
        filled = [*part, *[None] * (together - len(part))]  # always the same shape, which is compiled once
        changed = [x if column is None else _with_shuffled(x, column, order) for column in filled]
        joined = {name: np.concatenate([inputs[name] for inputs in changed]) for name in x}
        logits = np.asarray(model.predict_on_batch(joined)["logit"]).reshape(together, *mask.shape)
        for i in range(len(part)):
            scores[index[mask], start + i] = logits[i][mask]
    return scores


def _with_shuffled(x: dict[str, Array], column: Column, order: Array) -> dict[str, Array]:
    """The inputs with one column [B, N] in another order within each query."""
    shuffled, rows = dict(x), np.arange(len(order))[:, None]
    for name, index in column.places:
        values = shuffled[name]
        if index is None:
            shuffled[name] = values[rows, order]
        else:
            shuffled[name] = values.copy()
            shuffled[name][..., index] = values[..., index][rows, order]
    return shuffled
