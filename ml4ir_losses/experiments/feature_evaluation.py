"""Evaluates a run on documents with features, some queries at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ml4ir_losses.config.checks import metric_name
from ml4ir_losses.config.schema import Config
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import UserError, did_you_mean
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.data.queries import Queries, Roles, check_gains, make_queries
from ml4ir_losses.data.table import Table, group_by_query, places
from ml4ir_losses.data.trec import RUN, TrecFile
from ml4ir_losses.data.truncation import Truncation
from ml4ir_losses.evaluation.calibration import ProbabilityOf
from ml4ir_losses.evaluation.collector import Collector
from ml4ir_losses.evaluation.evaluation import Evaluation
from ml4ir_losses.evaluation.list_metrics import ListMetrics
from ml4ir_losses.evaluation.run_files import check_queries, run_file_scores
from ml4ir_losses.evaluation.scored_lists import ScoredLists
from ml4ir_losses.experiments.evaluation_options import Options, differs_within_query
from ml4ir_losses.experiments.feature_data import with_data
from ml4ir_losses.experiments.feature_experiment import FeatureExperiment
from ml4ir_losses.experiments.open_run import open_run
from ml4ir_losses.features.fitting import UnknownValues, encode_rows
from ml4ir_losses.losses.base import RelevanceLossBase
from ml4ir_losses.model.scoring import score_queries

_CHUNK = 100_000  # documents scored together

Baseline = Callable[[Table, Queries], Array]
"""From the rows of some queries to the score of each."""


def evaluate_features(
    experiment: FeatureExperiment,
    name: str,
    data: Any,
    options: Options,
    progress: Callable[[int], object] | None = None,
) -> Evaluation:
    """The evaluation of a run on data with labels.

    Raises:
        UserError, DataError: for data or options that cannot be used.
    """
    config = experiment.config
    metrics = ListMetrics(config.model.metrics, options.cutoffs, options.convention)
    loss = experiment.model.relevance_loss
    kind = probability_of(loss)

    def evaluate(blocks: Iterator[Table]) -> Evaluation:
        collector = Collector(metrics, clicks=True, calibration=kind, explain=options.explain_metric)
        truncation, sizes = Truncation(config.data.max_list_size), []
        source, baseline = "", None
        unknown = UnknownValues(experiment.model.fitted)
        for table in blocks:
            unknown.add(table)
            roles = _roles(config, options, table)
            if not source:
                source = table.source
                baseline = None if options.baseline is None else _baseline(options.baseline, table, roles)
            order, offsets = group_by_query(table.strings(roles.query_id))
            sizes.append(np.diff(offsets))
            for rows, queries in _chunks(experiment, table, order, offsets, roles, truncation):
                collector.add(_scored(experiment, rows, queries, roles, baseline, options, kind))
                if progress is not None:
                    progress(collector.queries)
        if report := truncation.report(np.concatenate(sizes)):
            LOGGER.warning("%s", report)
        unknown.tell()
        return collector.result(
            name,
            source,
            [metric_name(spec) for spec in config.model.metrics],
            group_by=options.group_by or "",
            baseline=os.fspath(options.baseline or ""),
        )

    evaluation: Evaluation = with_data(config, data, evaluate)
    if kind is None:
        evaluation.notes.append(f"calibration is left out: the scores of {loss.key} are no probabilities")
    return evaluation


def _roles(config: Config, options: Options, table: Table) -> Roles:
    """The roles that the evaluation reads, all of them columns of the table."""
    roles = Roles.of(config.features, config.model)
    columns = {"--group-by": options.group_by, "--match": options.match, "--positions": options.positions}
    for option, column in columns.items():
        if column is not None:
            table.require(column, option)
    positions = options.positions or (roles.positions if roles.positions in table else None)
    roles = replace(roles.for_metrics(), positions=positions)
    roles.check_columns(table)
    return roles


def probability_of(loss: RelevanceLossBase) -> ProbabilityOf | None:
    """What the activated scores of a loss are the probabilities of; None: of nothing."""
    if loss.activation == "softmax":
        return "choice"
    return "document" if loss.activation == "sigmoid" and not loss.in_batch else None


def _chunks(
    experiment: FeatureExperiment, table: Table, order: Array, offsets: Array, roles: Roles, truncation: Truncation
) -> Iterator[tuple[Table, Queries]]:
    """The rows of some queries, adjacent and cut to `max_list_size`, and these rows encoded."""
    place = places(offsets)
    starts = np.flatnonzero(np.diff(offsets[:-1] // _CHUNK, prepend=-1))
    for start, end in pairwise([*starts, len(offsets) - 1]):
        part = slice(offsets[start], offsets[end])
        limit = truncation.max_list_size
        kept = slice(None) if limit is None else place[part] <= limit
        rows = table.take(order[part][kept])
        queries = make_queries(rows, roles, encode_rows(experiment.model.fitted, rows))
        check_gains({"data": queries}, roles.label, experiment.config.model.metrics)
        yield rows, queries


def _scored(
    experiment: FeatureExperiment,
    rows: Table,
    queries: Queries,
    roles: Roles,
    baseline: Baseline | None,
    options: Options,
    kind: ProbabilityOf | None,
) -> ScoredLists:
    """The valid documents of the queries with their scores."""
    scored = score_queries(experiment.model, experiment.plan_once(queries))
    labels = queries.labels[roles.label]
    valid = labels >= roles.min_label
    query = np.repeat(np.arange(len(queries)), queries.sizes)

    def of_valid(values: Array | None) -> Array | None:
        return None if values is None else values[valid]

    return ScoredLists(
        ids=queries.ids,
        offsets=np.concatenate([[0], np.cumsum(np.bincount(query[valid], minlength=len(queries)))]),
        labels=labels[valid],
        scores=scored.logits[valid],
        document_ids=queries.document_ids[valid],
        probabilities=of_valid(scored.scores if kind else None),
        baseline=of_valid(None if baseline is None else baseline(rows, queries)),
        groups=None if options.group_by is None else _group_values(rows, queries, options.group_by),
        positions=of_valid(queries.positions),
        match=of_valid(None if options.match is None else np.nan_to_num(rows.numeric(options.match))),
    )


def _group_values(rows: Table, queries: Queries, column: str) -> Array:
    """The value of a column for each query, [Q].

    Raises:
        DataError: if it differs within a query.
    """
    cells = rows.strings(column)
    values = cells[queries.offsets[:-1]]
    other = cells != np.repeat(values, queries.sizes)
    if other.any():
        row = int(np.argmax(other))
        query = int(np.searchsorted(queries.offsets, row, side="right")) - 1
        raise differs_within_query(rows.locate(row), column, queries.ids[query], values[query], cells[row])
    return values


def _baseline(name: str | Path, table: Table, roles: Roles) -> Baseline:
    """The scores of a run folder, a run file or a column; a column with a leading minus ranks its lowest value first.

    Raises:
        UserError: if the name is none of them, or the run does not read these data.
    """
    path = Path(name)
    if path.is_dir():
        other = open_run(path)
        if not isinstance(other, FeatureExperiment):
            raise UserError(f"--baseline: {path} is a run on texts; it cannot score documents with features.")
        return lambda rows, queries: _run_scores(other, rows, roles)
    if path.is_file():
        file = TrecFile(path, RUN)
        check_queries(file, np.unique(table.strings(roles.query_id)).tolist())

        def scores(_: Table, queries: Queries) -> Array:
            documents = np.split(queries.document_ids, queries.offsets[1:-1])
            return run_file_scores(file, zip(queries.ids, documents, strict=True))

        return scores
    column = str(name)
    sign = 1.0 if column in table else -1.0
    column = column if column in table else column.removeprefix("-")
    if column not in table:
        hint = did_you_mean(column, table.names)
        raise UserError(f"--baseline: {column!r} is no run folder, no file and no column of {table.source}.{hint}")
    return lambda rows, _: _column_scores(rows, column, sign)


def _run_scores(other: FeatureExperiment, rows: Table, roles: Roles) -> Array:
    queries = make_queries(rows, roles, encode_rows(other.model.fitted, rows))
    return score_queries(other.model, other.plan_once(queries)).logits


def _column_scores(rows: Table, column: str, sign: float) -> Array:
    """The numbers of a column as scores; missing ones rank last."""
    values = rows.numeric(column)
    lowest = np.finfo("float32").min
    return np.where(np.isnan(values), lowest, sign * values)
