"""Evaluates a run on texts: the metrics of its evaluators, query by query where there are queries."""

from __future__ import annotations

import os
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ml4ir_losses.config.text_schema import Column, TextDataConfig
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.data.texts.rows import column_texts, read_texts
from ml4ir_losses.data.trec import RUN, TrecFile
from ml4ir_losses.evaluation.evaluation import Estimate, Evaluation
from ml4ir_losses.evaluation.evaluators import RerankingEvaluator, RetrievalEvaluator
from ml4ir_losses.evaluation.run_files import check_queries
from ml4ir_losses.evaluation.scoring import QueryMetrics
from ml4ir_losses.evaluation.sparsity import evaluate, evaluate_by_query
from ml4ir_losses.evaluation.summary import summarize
from ml4ir_losses.experiments.evaluation_options import Options, differs_within_query
from ml4ir_losses.experiments.open_run import open_run
from ml4ir_losses.experiments.text_experiment import TextExperiment
from ml4ir_losses.metrics.retrieval import Metrics, metric_label

QueryEvaluator = RetrievalEvaluator | RerankingEvaluator


def evaluate_texts(experiment: TextExperiment, name: str, data: Any, options: Options) -> Evaluation:
    """The evaluation of a run on a file, on data in memory, or on the run's `retrieval` or `reranking`.

    Raises:
        UserError, DataError: for data or options that cannot be used.
    """
    given = {"--convention": options.convention, "--positions": options.positions, "--match": options.match}
    given["--explain-metric"] = options.explain_metric
    for option, value in given.items():
        if value is not None:
            raise UserError(f"{option}: needs documents with features; {name} is a run on texts.")
    evaluators = dict(experiment.evaluators_for(data))
    ranked = evaluators.pop("", None)
    if not isinstance(ranked, (RetrievalEvaluator, RerankingEvaluator)):
        for option, wanted in {"--group-by": options.group_by, "--baseline": options.baseline}.items():
            if wanted is not None:
                raise UserError(f"{option}: needs queries with their documents; {data} has pairs of texts.")
        evaluation = Evaluation(name, str(data), 0, None, {}, [])
    else:
        evaluation = _by_query(experiment, ranked, data, options)
        evaluation.name, evaluation.data = name, str(data)
    for prefix, evaluator in evaluators.items():
        values = {f"{prefix}_{metric}": value for metric, value in evaluate(evaluator, experiment.model).items()}
        evaluation.estimates |= {metric: Estimate(value, None, 0, 0) for metric, value in values.items()}
        evaluation.main += values
        evaluation.notes.append(f"{', '.join(values)}: is not a mean over queries, so there is no interval")
    return evaluation


def _by_query(experiment: TextExperiment, evaluator: QueryEvaluator, data: Any, options: Options) -> Evaluation:
    main = [metric_label(*metric) for metric in evaluator.metrics]
    evaluator.metrics = at_cutoffs(evaluator.metrics, options.cutoffs)
    groups = None if options.group_by is None else _groups(experiment, evaluator, data, options.group_by)
    baseline = None if options.baseline is None else _baseline(options.baseline, evaluator)
    values, sparsity = evaluate_by_query(evaluator, experiment.model)
    evaluation = summarize(values, baseline=baseline, groups=groups, column=options.group_by or "")
    evaluation.baseline = os.fspath(options.baseline or "")
    evaluation.estimates |= {metric: Estimate(value, None, 0, 0) for metric, value in sparsity.items()}
    evaluation.main = [*main, *sparsity]
    return evaluation


def at_cutoffs(metrics: Metrics, cutoffs: Sequence[int]) -> Metrics:
    """The metrics, and each at every cut-off, ascending."""
    keys = list(dict.fromkeys(key for key, _ in metrics))
    pairs = {*((key, topn) for key, topn in metrics), *((key, cutoff) for key in keys for cutoff in cutoffs)}
    return sorted(pairs, key=lambda pair: (keys.index(pair[0]), pair[1] or np.inf))


def _baseline(name: str | Path, evaluator: QueryEvaluator) -> QueryMetrics:
    """The values of another text run, or of a run file for a corpus."""
    path = Path(name)
    if path.is_dir():
        other = open_run(path)
        if not isinstance(other, TextExperiment):
            raise UserError(f"--baseline: {path} is a run on documents with features; it reads no texts.")
        return evaluate_by_query(evaluator, other.model)[0]
    if not path.is_file():
        raise UserError(f"--baseline: {name!s:.200} is no run folder and no run file.")
    if not isinstance(evaluator, RetrievalEvaluator):
        raise UserError("--baseline: a run file can be compared with --data retrieval only; give a run folder.")
    file = TrecFile(path, RUN)
    check_queries(file, [str(query) for query in evaluator.query_ids])
    return evaluate_by_query(evaluator, {query: _ranking(file, str(query)) for query in evaluator.query_ids})[0]


def _ranking(file: TrecFile, query: str) -> list[Hashable]:
    documents, scores = file.documents(query)
    return [documents[i] for i in np.argsort(-scores, kind="stable")]


def _groups(experiment: TextExperiment, evaluator: QueryEvaluator, data: Any, column: str) -> Array:
    """The value of a column for each evaluated query, [Q].

    Raises:
        UserError: for other data than `retrieval` or `reranking`.
        DataError: for a missing column, or one that differs within a query.
    """
    config: TextDataConfig = experiment.config.data
    id_column: Column
    if data == "retrieval" and config.retrieval is not None:
        paths, id_column = config.retrieval.queries, config.retrieval.query_id
    elif data == "reranking" and config.reranking is not None:
        paths, id_column = config.reranking.files, config.reranking.query_id or config.reranking.query
    else:
        raise UserError("--group-by: for a run on texts it needs --data retrieval or --data reranking.")
    table = read_texts(config, paths)
    table.require(column, "--group-by")
    values: dict[str, str] = {}
    for row, (query, value) in enumerate(zip(column_texts(table, id_column, ""), table.strings(column), strict=True)):
        if values.setdefault(query, value) != value:
            raise differs_within_query(table.locate(row), column, query, values[query], value)
    return np.array([values[str(query)] for query in evaluator.query_ids], dtype=object)
