"""Evaluates the rankings of a TREC run file by the judgments of a qrels file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from ml4ir_losses.config.base import Spec
from ml4ir_losses.config.checks import metric_name
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.trec import QRELS, RUN, TrecFile
from ml4ir_losses.evaluation.collector import Collector
from ml4ir_losses.evaluation.evaluation import Evaluation
from ml4ir_losses.evaluation.list_metrics import CUTOFFS, ListMetrics
from ml4ir_losses.evaluation.scored_lists import ScoredLists

METRICS: tuple[Spec, ...] = ("ndcg", "map", "mrr", "precision", "recall")
_CHUNK = 1024  # queries read together


def evaluate_run_file(
    run: str | os.PathLike[str],
    qrels: str | os.PathLike[str],
    *,
    metrics: Sequence[Spec] = METRICS,
    cutoffs: Sequence[int] = CUTOFFS,
    convention: str | None = None,
    baseline: str | os.PathLike[str] | None = None,
    explain_metric: str | None = None,
    progress: Callable[[int], object] | None = None,
) -> Evaluation:
    """The metrics of a run file by the judgments of a qrels file, read a few queries at a time.

    Documents without a judgment are irrelevant (bpref leaves them out), and grades below 0 count as 0. Judged documents
    that the run lacks are not retrieved. A query without lines in the run has retrieved nothing, except in the
    convention `trec_eval`, which leaves it out.

    Args:
        run: lines of `query Q0 document rank score tag`; documents are ranked by score.
        qrels: lines of `query 0 document grade`.
        metrics: keys or specs of metrics.
        cutoffs: each metric comes at these cut-offs too.
        convention: the library whose conventions are followed; None: ours.
        baseline: another run file, with which each query is compared.
        explain_metric: a metric whose gap between our convention and the other is explained; it keeps all documents.
        progress: called with the number of queries so far.

    Raises:
        DataError: for files that cannot be read, without a common query, and a baseline that lacks queries of the run.
        UserError: for an unknown metric or convention.
    """
    judgments, ranking = TrecFile(qrels, QRELS), TrecFile(run, RUN)
    common = [query for query in judgments.queries if query in ranking]
    if not common:
        raise DataError(
            f"{run} and {qrels} have no query in common: {ranking.queries[0]!r} comes first in the run, "
            f"{judgments.queries[0]!r} in the qrels."
        )
    other = None if baseline is None else TrecFile(baseline, RUN)
    if other is not None:
        check_queries(other, common)
    queries = common if convention == "trec_eval" else judgments.queries
    collector = Collector(ListMetrics(metrics, cutoffs, convention), explain=explain_metric)
    for start in range(0, len(queries), _CHUNK):
        collector.add(_lists(queries[start : start + _CHUNK], judgments, ranking, other))
        if progress is not None:
            progress(min(start + _CHUNK, len(queries)))
    evaluation = collector.result(
        os.fspath(run),
        os.fspath(qrels),
        [metric_name(spec) for spec in metrics],
        baseline="" if baseline is None else os.fspath(baseline),
    )
    missing, unjudged = len(judgments) - len(common), len(ranking) - len(common)
    if missing:
        how = "are left out, as in trec_eval" if convention == "trec_eval" else "count as having retrieved nothing"
        evaluation.notes.append(f"{missing:,} of {len(judgments):,} queries of the qrels are not in the run and {how}")
    if unjudged:
        evaluation.notes.append(f"{unjudged:,} of {len(ranking):,} queries of the run are not in the qrels: left out")
    return evaluation


def check_queries(run: TrecFile, queries: Iterable[str]) -> None:
    """Raises `DataError` unless the run file has all of the queries."""
    queries = list(queries)
    missing = [query for query in queries if query not in run]
    if missing:
        raise DataError(
            f"{run.path}: the baseline has other queries; {len(missing):,} of {len(queries):,} are missing, "
            f"{missing[0]!r} for instance."
        )


def _lists(queries: Sequence[str], judgments: TrecFile, ranking: TrecFile, other: TrecFile | None) -> ScoredLists:
    """The documents of some queries: those of the qrels and of the runs, each once."""
    files = [ranking, judgments, *([] if other is None else [other])]
    ids: list[str] = []
    sizes, columns = [], []
    for query in queries:
        documents, values = _merged([file.documents(query) for file in files])
        ids += documents
        sizes.append(len(documents))
        columns.append(values)
    scores, grades, *baseline = np.concatenate(columns, axis=1)
    return ScoredLists(
        ids=np.array(queries, dtype=object),
        offsets=np.concatenate([[0], np.cumsum(sizes)]),
        labels=np.where(np.isfinite(grades), np.maximum(grades, 0.0), 0.0),
        scores=scores,
        document_ids=np.array(ids, dtype=object),
        unjudged=~(grades >= 0),
        baseline=baseline[0] if baseline else None,
    )


def _merged(files: Sequence[tuple[list[str], Array]]) -> tuple[list[str], Array]:
    """The document ids of all files, and their numbers in each file, -inf where it lacks them, [files, documents]."""
    index: dict[str, int] = {}
    for documents, _ in files:
        for document in documents:
            index.setdefault(document, len(index))
    values = np.full((len(files), len(index)), -np.inf)
    for row, (documents, numbers) in enumerate(files):
        values[row, [index[document] for document in documents]] = numbers
    return list(index), values


def run_file_scores(run: TrecFile, lists_of: Iterable[tuple[str, Iterable[str]]]) -> Array:
    """The scores of documents in a run file, from (query, document ids); -inf for those that it lacks.

    Raises:
        DataError: if it lacks all of them.
    """
    found, document = [], ""
    for query, documents in lists_of:
        scores = dict(zip(*run.documents(query), strict=True))
        for document in documents:
            found.append(scores.get(document, -np.inf))
    values = np.array(found)
    if not np.isfinite(values).any():
        raise DataError(
            f"{run.path}: has none of the data's documents, such as {document!r}; see features.document_id."
        )
    return values
