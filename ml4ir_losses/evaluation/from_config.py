"""Evaluators built from a text config."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ml4ir_losses.config.text_checks import retrieval_metrics
from ml4ir_losses.config.text_schema import TextDataConfig
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import ConfigError, DataError
from ml4ir_losses.data.table import group_by_query
from ml4ir_losses.data.texts.collection import read_collection, read_lists
from ml4ir_losses.data.texts.rows import TextRows
from ml4ir_losses.data.texts.sets import TextSet
from ml4ir_losses.evaluation.evaluators import (
    BinaryEvaluator,
    ClassEvaluator,
    Evaluator,
    RerankingEvaluator,
    RetrievalEvaluator,
    SimilarityEvaluator,
    TripletEvaluator,
)


def pair_evaluators(names: Sequence[str] | None, text_set: TextSet, rows: TextRows) -> dict[str, Evaluator]:
    """Evaluators of validation or test rows, by name; `names` None: all that the columns allow.

    Raises:
        ConfigError: if the columns of a named evaluator are missing.
    """
    columns = text_set.config.columns
    labelled = "label" in columns and len(rows.texts) == 2 and not text_set.loss.reads_classes
    binary = labelled and set(rows.numbers().tolist()) == {0.0, 1.0}
    possible = {"triplet": len(rows.texts) > 2, "binary": binary, "similarity": labelled and not binary}
    chosen = [name for name, fits in possible.items() if fits] if names is None else list(names)
    first, second = rows.texts[0], rows.texts[-1]
    makers: dict[str, Callable[[], Evaluator]] = {
        "triplet": lambda: TripletEvaluator(first, rows.texts[1], rows.texts[2]),
        "binary": lambda: BinaryEvaluator(first, second, rows.numbers()),
        "similarity": lambda: SimilarityEvaluator(first, second, rows.numbers()),
    }
    needs = {"triplet": "anchor, positive and negative", "binary": "anchor, positive and label"}
    evaluators = {}
    for name in chosen:
        has_columns = len(rows.texts) > 2 if name == "triplet" else len(rows.texts) == 2 and "label" in columns
        if not has_columns:
            raise ConfigError(f"evaluators: {name!r} needs the columns {needs.get(name, needs['binary'])}.")
        evaluators[name] = makers[name]()
    return evaluators


def list_evaluators(
    names: Sequence[str] | None,
    queries: Sequence[str],
    documents: Sequence[str],
    relevance: Array | None,
    query_ids: Array | None,
    *,
    pairs: bool,
    classes: Sequence[str] | None = None,
) -> dict[str, Evaluator]:
    """Evaluators of a cross-encoder's scores, by name; `names` None: all that the rows allow.

    Args:
        names: `ranking`, `binary`, `similarity`, `classes`.
        queries: the query of each row.
        documents: the document of each row.
        relevance: the grade of each row; None: there are none.
        query_ids: the query id of each row; None: rows are grouped by query text.
        pairs: the rows are labelled pairs, which `binary` or `similarity` evaluates.
        classes: the class of each row, or None.

    Raises:
        ConfigError: if the rows do not allow a named evaluator.
    """
    grades = np.zeros(len(queries)) if relevance is None else relevance
    order, offsets = group_by_query(queries if query_ids is None else query_ids)
    groups = np.split(grades[order], offsets[1:-1])
    ranked = any(len(group) and group.max() > max(group.min(), 0) for group in groups)
    binary = pairs and set(grades.tolist()) == {0.0, 1.0}
    makers: dict[str, tuple[bool, Callable[[], Evaluator], str]] = {
        "ranking": (
            ranked,
            lambda: RerankingEvaluator(queries, documents, grades, query_ids),
            "queries with relevant and other documents",
        ),
        "binary": (binary, lambda: BinaryEvaluator(queries, documents, grades), "labels 0 and 1 of pairs"),
        "similarity": (
            pairs and not binary,
            lambda: SimilarityEvaluator(queries, documents, grades),
            "labels of pairs other than 0 and 1",
        ),
        "classes": (
            classes is not None,
            lambda: ClassEvaluator(queries, documents, classes or ()),
            "a loss that predicts classes",
        ),
    }
    chosen = [name for name, (fits, *_) in makers.items() if fits] if names is None else names
    evaluators = {}
    for name in chosen:
        fits, make, needs = makers.get(name, (False, None, "a model that embeds texts"))
        if make is None or not fits:
            raise ConfigError(f"evaluators: {name!r} needs {needs}.")
        evaluators["" if name == "ranking" else name] = make()
    return evaluators


def retrieval_evaluator(data: TextDataConfig) -> RetrievalEvaluator:
    """The retrieval evaluator configured by `data.retrieval`."""
    collection, settings = read_collection(data), data.retrieval
    if settings is None:
        raise DataError("data.retrieval is not given.")
    return RetrievalEvaluator(
        collection.corpus,
        collection.queries,
        collection.judgments,
        retrieval_metrics(settings.metrics),
        settings.similarity,
        settings.dims,
    )


def reranking_evaluator(data: TextDataConfig) -> RerankingEvaluator:
    """The reranking evaluator configured by `data.reranking`."""
    lists = read_lists(data)
    return RerankingEvaluator(lists.queries, lists.documents, lists.grades, lists.query_ids)


COLLECTION_EVALUATORS: dict[str, Callable[[TextDataConfig], Evaluator]] = {
    "reranking": reranking_evaluator,
    "retrieval": retrieval_evaluator,
}
"""Functions that build the retrieval and reranking evaluators, by key of the `data` section."""
