"""Trains the rankers of other libraries on the documents and the validation metric of a feature experiment."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from ml4ir_losses.config.checks import metric_name
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.batching import BatchPlan
from ml4ir_losses.data.queries import Queries
from ml4ir_losses.data.streaming.store import QueryStore
from ml4ir_losses.evaluation.scoring import lower_is_better, query_metrics
from ml4ir_losses.experiments.comparing.plan import Outcome
from ml4ir_losses.features.kinds.categorical import FittedCategorical
from ml4ir_losses.features.kinds.numeric import FittedNumeric
from ml4ir_losses.features.kinds.vector import FittedVector
from ml4ir_losses.features.transforms import depends_on_query

_ROUNDS, _PATIENCE, _PERIOD = 1000, 100, 5  # trees; trees without improvement; trees between two evaluations
_SMALL = 20_000_000  # feature values for which one thread is enough
_LARGEST_GRADE = 30  # higher labels are their own gain: 2^label - 1 of the highest would outweigh all others


class Columns(NamedTuple):
    """The features of the documents of a split, [rows, F], and which of them are categories."""

    values: Array
    categories: list[int]


@dataclass(frozen=True)
class Split:
    """What a library reads of a split: the documents that are not padding, by query."""

    columns: Columns
    labels: Array
    sizes: Array
    weight: Array | None


Score = Callable[[Array], float]
"""The validation metric of the scores of its documents, made so that higher is better."""


def train_library(
    name: str, experiment: Any, settings: Mapping[str, Any], seed: int, part: str, threads: int
) -> Outcome:
    """Trains a library's ranker on the splits of a feature experiment, stopped by its validation metric.

    The ranker reads numbers with their missing values, ranks in the query and categories; not texts.

    Raises:
        DataError: for labels that the library does not take, a model without such features, or data that do not fit
            into memory.
    """
    stored = next((data for data in experiment.queries.values() if isinstance(data, QueryStore)), None)
    if stored is not None:
        raise DataError(f"{name} reads all rows at once; those of {stored.source} take more than data.memory.")
    metric_set, monitor = experiment.metric_set, experiment.monitored()[0].removeprefix("val_")
    first = next((m for m in metric_set.metrics if metric_name(m) == monitor), metric_set.metrics[0])
    # Not the batches of training: few large ones cost less, and the metric is computed hundreds of times.
    truncation = experiment.plan("validation").truncation
    plan = BatchPlan(experiment.queries["validation"], 256, truncation=truncation)
    first_only, first_name = replace(metric_set, metrics=[first]), metric_name(first)
    sign = -1.0 if lower_is_better(first_name) else 1.0

    def score(scores: Array) -> float:
        return sign * query_metrics(first_only, plan, scores.astype("float32")).means()[first_name]

    started = time.perf_counter()
    columns = {split: _columns(experiment, split) for split in {"train", "validation", part}}
    train = _documents(experiment, "train", columns["train"])
    if columns["train"].values.size < _SMALL:  # threads would wait for each other
        threads = 1
    predict, trees = TRAINERS[name](train, columns["validation"], score, settings, seed, threads)
    seconds = time.perf_counter() - started
    best = score(predict(columns["validation"].values))
    judged = query_metrics(metric_set, experiment.plan(part), predict(columns[part].values).astype("float32"))
    return Outcome(best, "max", judged.ids, judged.values, judged.weights, seconds, trees)


def _columns(experiment: Any, split: str) -> Columns:
    """The features of all documents of a split."""
    queries: Queries = experiment.queries[split]
    parts: list[Array] = []
    categories: list[int] = []
    for fitted in experiment.model.fitted:
        values = queries.features[fitted.name]
        if isinstance(fitted, FittedCategorical) and not fitted.keeps_lists:
            categories.append(sum(part.shape[1] for part in parts))
            values = values[:, None]
        elif rankings := fitted.rankings(values):
            values = np.stack(list(rankings.values()), axis=1)
        elif not isinstance(fitted, FittedVector):
            continue
        if fitted.scope == "query":
            values = np.repeat(values[queries.offsets[:-1]], queries.sizes, axis=0)
        parts.append(values)
        if isinstance(fitted, FittedNumeric) and fitted.reads_list:
            parts.append(_within_query(queries, fitted, values))
    if not parts:
        raise DataError("features.inputs: another library needs an input of the type numeric, categorical or vector.")
    return Columns(np.concatenate([part.astype("float32") for part in parts], axis=1), categories)


def _within_query(queries: Queries, fitted: FittedNumeric, values: Array) -> Array:
    """What the model reads of the values in comparison with those of their query."""
    encoder, plan = fitted.encoder("columns", "float32"), BatchPlan(queries, 64)
    first = 0 if depends_on_query(fitted.transforms) else encoder.width - len(fitted.columns) * fitted.query_rank
    encoded = np.empty((len(values), encoder.width - first), "float32")
    for batch in plan.batches():
        index, mask = plan.rows(batch)
        encoded[index[mask]] = np.asarray(encoder.raw(values[index], mask))[mask][:, first:]
    return encoded


def _documents(experiment: Any, split: str, columns: Columns) -> Split:
    """The documents to train on: those that are not padding."""
    queries, label = experiment.queries[split], experiment.config.features.label
    labels = queries.labels[label]
    valid = labels >= experiment.config.model.min_label
    weight = queries.weight
    if queries.query_weight is not None:
        per_row = np.repeat(queries.query_weight, queries.sizes)
        weight = per_row if weight is None else weight * per_row
    query = np.repeat(np.arange(len(queries)), queries.sizes)[valid]
    return Split(
        Columns(columns.values[valid], columns.categories),
        labels[valid],
        np.bincount(query, minlength=len(queries)),
        None if weight is None else weight[valid],
    )


def _lightgbm(
    train: Split, validation: Columns, score: Score, settings: Mapping[str, Any], seed: int, threads: int
) -> tuple[Callable[[Array], Array], int]:
    import lightgbm

    labels = train.labels
    if (labels < 0).any() or (labels != np.round(labels)).any():
        wrong = labels[(labels < 0) | (labels != np.round(labels))][0]
        raise DataError(f"LightGBM's LambdaMART takes whole labels of at least 0. Received: {wrong:g}.")
    grades = range(int(labels.max()) + 1)
    parameters = {
        "objective": "lambdarank",
        "metric": "none",
        "label_gain": [2.0**grade - 1 if labels.max() <= _LARGEST_GRADE else grade for grade in grades],
        "feature_fraction": 0.8,
        "seed": seed,
        "deterministic": True,
        "num_threads": threads,
        "verbosity": -1,
        **settings,
    }
    data = lightgbm.Dataset(
        train.columns.values,
        labels,
        group=train.sizes,
        weight=train.weight,
        categorical_feature=train.columns.categories,
        params={"verbosity": -1},
    )
    # Our metric has the labels of the validation split.
    held_out = data.create_valid(validation.values, np.zeros(len(validation.values)))
    evaluate = _Periodically(score)
    booster = lightgbm.train(
        parameters,
        data,
        num_boost_round=_ROUNDS,
        valid_sets=[held_out],
        feval=lambda scores, _: ("metric", evaluate(scores), True),
        callbacks=[lightgbm.early_stopping(_PATIENCE, verbose=False)],
    )
    return lambda values: np.asarray(booster.predict(values, num_threads=threads)), booster.best_iteration


def _catboost(
    train: Split, validation: Columns, score: Score, settings: Mapping[str, Any], seed: int, threads: int
) -> tuple[Callable[[Array], Array], int]:
    import catboost

    def pool(columns: Columns, **options: Any) -> Any:
        if not columns.categories:
            return catboost.Pool(columns.values, **options)
        cells = columns.values.astype(object)
        cells[:, columns.categories] = columns.values[:, columns.categories].astype(int)
        return catboost.Pool(cells, cat_features=columns.categories, **options)

    groups, rows = np.repeat(np.arange(len(train.sizes)), train.sizes), len(validation.values)
    model = catboost.CatBoost(
        {
            "loss_function": "YetiRank",
            "eval_metric": _CatBoostMetric(_Periodically(score)),
            "iterations": _ROUNDS,
            "od_type": "Iter",
            "od_wait": _PATIENCE,
            "use_best_model": True,
            "random_seed": seed,
            "thread_count": threads,
            "allow_writing_files": False,
            "logging_level": "Silent",
            **settings,
        }
    )
    # Our metric has the labels and queries of the validation split; these labels only say which split is evaluated.
    held_out = pool(validation, label=np.full(rows, _HELD_OUT), group_id=np.arange(rows) // 100)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Failed to import numba")
        model.fit(pool(train.columns, label=train.labels, group_id=groups, weight=train.weight), eval_set=held_out)
    return lambda values: np.asarray(model.predict(pool(Columns(values, validation.categories)))), model.tree_count_


_HELD_OUT = -1.0


class _CatBoostMetric:
    """The validation metric as CatBoost calls it, for both splits; on the training split it is 0."""

    def __init__(self, score: Callable[[Array], float]) -> None:
        self.score = score

    def is_max_optimal(self) -> bool:
        return True

    def evaluate(self, scores: Any, labels: Any, weight: Any) -> tuple[float, float]:
        return (self.score(np.asarray(scores[0])) if labels[0] == _HELD_OUT else 0.0), 1.0

    def get_final_error(self, error: float, weight: float) -> float:
        return error


class _Periodically:
    """A score that is computed at every `_PERIOD`-th call, and kept between."""

    def __init__(self, score: Score) -> None:
        self.score, self.calls, self.value = score, 0, 0.0

    def __call__(self, scores: Array) -> float:
        if self.calls % _PERIOD == 0:
            self.value = self.score(np.asarray(scores))
        self.calls += 1
        return self.value


TRAINERS: dict[str, Callable[..., tuple[Callable[[Array], Array], int]]] = {
    "lightgbm": _lightgbm,
    "catboost": _catboost,
}
"""`(train, validation, score, settings, seed, threads)` to a function from features to scores, and how many trees."""
