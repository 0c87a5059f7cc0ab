"""The evaluators that a text config asks for."""

from __future__ import annotations

from collections.abc import Callable

from ml4ir_losses.config.text_checks import retrieval_metrics
from ml4ir_losses.config.text_schema import TextConfig, TextDataConfig
from ml4ir_losses.core.errors import ConfigError, DataError
from ml4ir_losses.data.collection import read_collection, read_lists
from ml4ir_losses.data.text_sets import TextSet
from ml4ir_losses.data.texts import TextRows
from ml4ir_losses.evaluation.evaluators import (
    BinaryEvaluator,
    Evaluator,
    RerankingEvaluator,
    RetrievalEvaluator,
    SimilarityEvaluator,
    TripletEvaluator,
)


def pair_evaluators(config: TextConfig, one: TextSet, rows: TextRows) -> dict[str, Evaluator]:
    """The evaluators of validation and test rows: those of the config, or those that the columns allow.

    Raises:
        ConfigError: for an evaluator whose columns are not there.
    """
    columns = one.config.columns
    labelled = "label" in columns and len(rows.texts) == 2 and one.loss.labels != "class"
    binary = labelled and set(rows.numbers().tolist()) == {0.0, 1.0}
    fitting = {"triplet": len(rows.texts) > 2, "binary": binary, "similarity": labelled and not binary}
    chosen = [name for name, fits in fitting.items() if fits] if config.evaluators is None else list(config.evaluators)
    first, second = rows.texts[0], rows.texts[-1]
    makers: dict[str, Callable[[], Evaluator]] = {
        "triplet": lambda: TripletEvaluator(first, rows.texts[1], rows.texts[2]),
        "binary": lambda: BinaryEvaluator(first, second, rows.numbers()),
        "similarity": lambda: SimilarityEvaluator(first, second, rows.numbers()),
    }
    needs = {"triplet": "anchor, positive and negative", "binary": "anchor, positive and label"}
    evaluators = {}
    for name in chosen:
        possible = len(rows.texts) > 2 if name == "triplet" else len(rows.texts) == 2 and "label" in columns
        if not possible:
            raise ConfigError(f"evaluators: {name!r} needs the columns {needs.get(name, needs['binary'])}.")
        evaluators[name] = makers[name]()
    return evaluators


def retrieval_evaluator(data: TextDataConfig) -> RetrievalEvaluator:
    """The evaluator of `data.retrieval`."""
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
    """The evaluator of `data.reranking`."""
    lists = read_lists(data)
    return RerankingEvaluator(lists.queries, lists.documents, lists.grades, lists.query_ids)


COLLECTION_EVALUATORS: dict[str, Callable[[TextDataConfig], Evaluator]] = {
    "reranking": reranking_evaluator,
    "retrieval": retrieval_evaluator,
}
"""The evaluators of queries by their part of the data section."""
