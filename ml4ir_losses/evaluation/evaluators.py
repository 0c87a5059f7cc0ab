"""Retrieval and reranking evaluators; pair and triplet evaluators are in `pair_evaluators`."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError, check_choice, check_count, check_whole
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.data.table import group_by_query
from ml4ir_losses.evaluation.encoding import (
    DOCUMENT,
    QUERY,
    BiEncoder,
    CrossEncoder,
    check_lengths,
    encode,
    finite_numbers,
    score_pairs,
)
from ml4ir_losses.evaluation.nearest import BLOCK, SIMILARITIES, Nearest, compare_rows
from ml4ir_losses.evaluation.pair_evaluators import (
    PAIR_SIMILARITIES,
    BinaryEvaluator,
    ClassEvaluator,
    SimilarityEvaluator,
    TripletEvaluator,
)
from ml4ir_losses.metrics.retrieval import (
    RETRIEVAL_METRICS,
    Judgments,
    Metrics,
    check_metrics,
    evaluate_rankings,
)

__all__ = [
    "BinaryEvaluator",
    "ClassEvaluator",
    "Evaluator",
    "RerankingEvaluator",
    "RetrievalEvaluator",
    "SimilarityEvaluator",
    "TripletEvaluator",
]

Rankings = Mapping[Any, Sequence[Hashable]]
_SEED = 0  # of the shuffle that breaks ties


class Evaluator(Protocol):
    """Computes quality metrics of a model."""

    def evaluate(self, model: Any) -> dict[str, float]:
        """Metric values by name."""


class RetrievalEvaluator:
    """Retrieval from a whole corpus: mean `ndcg_10`, `mrr_10`, `map_100`, `recall_100` over the judged queries.

    The corpus is encoded and searched block by block: memory holds one block of embeddings and the best documents of
    each query. Documents are shuffled with a fixed seed, so that corpus order does not break ties. Gains are the
    grades, as in trec_eval; documents without a judgment have grade 0. Queries without a relevant document are
    excluded.

    Args:
        corpus: text by document id.
        queries: text by query id; queries without judgments are ignored.
        judgments: grade by document id, by query id; above 0 is relevant.
        metrics: pairs (metric, topn): `ndcg`, `mrr`, `map` or `recall`, and the rank cutoff (None: all ranks).
        similarity: `cosine`, `dot` or `euclidean`.
        dims: number of leading embedding dimensions to use, for models trained with `matryoshka`; None: all.
        block: number of documents encoded at a time.

    Raises:
        DataError: if the corpus is empty, or the judgments match no query, no document, or hold no relevant document.
        UserError: for invalid parameters.
    """

    def __init__(
        self,
        corpus: Mapping[Any, str],
        queries: Mapping[Any, str],
        judgments: Mapping[Any, Judgments],
        metrics: Metrics = RETRIEVAL_METRICS,
        similarity: str = "cosine",
        dims: int | None = None,
        block: int = BLOCK,
    ) -> None:
        check_metrics(metrics)
        check_choice(SIMILARITIES, similarity=similarity)
        check_count(dims=dims)
        check_whole(1, block=block)
        self.judgments = _usable_judgments(corpus, queries, judgments)
        self.queries = {query: queries[query] for query in self.judgments}
        self.corpus, self.metrics, self.similarity, self.dims, self.block = corpus, metrics, similarity, dims, block

    @property
    def query_ids(self) -> list[Hashable]:
        """Ids of the evaluated queries, in the order of `per_query`."""
        return list(self.judgments)

    def evaluate(self, model: BiEncoder | Rankings) -> dict[str, float]:
        """Mean metrics of a bi-encoder or of given rankings (document ids by query id, best first)."""
        return _means(self.per_query(model))

    def per_query(self, model: BiEncoder | Rankings) -> dict[str, Array]:
        """Per-query values of each metric, in the order of `query_ids`."""
        rankings = model if isinstance(model, Mapping) else self.rankings(model, self._depth())
        if not any(query in rankings for query in self.queries):
            raise DataError(
                f"The rankings name none of the judged queries. Received: {next(iter(rankings), None)!r} in the "
                f"rankings, {next(iter(self.queries))!r} in the judgments."
            )
        return _arrays(evaluate_rankings(rankings, self.judgments, self.metrics))

    def rankings(self, model: BiEncoder, k: int) -> dict[Hashable, list[Hashable]]:
        """Ids of the k most similar documents of every evaluated query, best first."""
        check_whole(1, k=k)
        ids = list(self.corpus)
        order = np.random.default_rng(_SEED).permutation(len(ids))
        nearest = Nearest(encode(model, list(self.queries.values()), QUERY, self.dims), k, self.similarity)
        for start in range(0, len(ids), self.block):
            texts = [self.corpus[ids[row]] for row in order[start : start + self.block]]
            nearest.add(encode(model, texts, DOCUMENT, self.dims))
        _, rows = nearest.result()
        return {query: [ids[row] for row in order[top]] for query, top in zip(self.queries, rows, strict=True)}

    def _depth(self) -> int:
        return max((len(self.corpus) if topn is None else topn for _, topn in self.metrics), default=1)


class RerankingEvaluator:
    """Reranking of each query's candidate documents: mean `ndcg_10`, `mrr_10`, `map` over the queries.

    Ties are broken by a shuffle with a fixed seed, not by the order of the rows. Queries without a relevant document
    are excluded.

    Args:
        queries: the query of each row.
        documents: the document of each row.
        grades: the grade of each row; above 0 is relevant.
        query_ids: the query id of each row, which groups the rows; None: rows are grouped by query text.
        metrics: as for `RetrievalEvaluator`.
        similarity: for bi-encoders: `cosine`, `dot`, `euclidean` or `manhattan`.
        dims: for bi-encoders: number of leading embedding dimensions to use; None: all.

    Raises:
        DataError: for columns of different lengths, non-finite grades, or no relevant document.
        UserError: for invalid parameters.
    """

    def __init__(
        self,
        queries: Sequence[str],
        documents: Sequence[str],
        grades: Sequence[float] | Array,
        query_ids: Sequence[Hashable] | Array | None = None,
        metrics: Metrics = (("ndcg", 10), ("mrr", 10), ("map", None)),
        similarity: str = "cosine",
        dims: int | None = None,
    ) -> None:
        ids = queries if query_ids is None else query_ids
        check_lengths(queries=queries, documents=documents, grades=grades, query_ids=ids)
        check_metrics(metrics)
        check_choice(PAIR_SIMILARITIES, similarity=similarity)
        check_count(dims=dims)
        values = finite_numbers("grades", grades)
        if not (values > 0).any():
            raise DataError("`grades` must be above 0 for some row: no document is relevant.")
        rows, offsets = group_by_query(ids)
        groups = np.split(rows, offsets[1:-1])
        shuffled = np.random.default_rng(_SEED).permutation(len(rows))
        self.groups = {
            ids[group[0]]: group[np.argsort(shuffled[group])] for group in groups if (values[group] > 0).any()
        }
        self.judgments = {
            query: dict(zip(g.tolist(), values[g].tolist(), strict=True)) for query, g in self.groups.items()
        }
        self.queries, self.documents = queries, documents
        self.metrics, self.similarity, self.dims = metrics, similarity, dims

    @property
    def query_ids(self) -> list[Hashable]:
        """Ids of the evaluated queries, in the order of `per_query`."""
        return list(self.groups)

    def evaluate(self, model: BiEncoder | CrossEncoder) -> dict[str, float]:
        """Mean metrics; a model with `score_pairs` scores the pairs, any other model encodes both texts."""
        return _means(self.per_query(model))

    def per_query(self, model: BiEncoder | CrossEncoder) -> dict[str, Array]:
        """Per-query values of each metric, in the order of `query_ids`."""
        scores = self._scores(model)
        rankings = {q: group[np.argsort(-scores[group], kind="stable")].tolist() for q, group in self.groups.items()}
        return _arrays(evaluate_rankings(rankings, self.judgments, self.metrics))

    def _scores(self, model: BiEncoder | CrossEncoder) -> Array:
        if isinstance(model, CrossEncoder):
            return score_pairs(model, self.queries, self.documents)
        queries, documents = (
            encode(model, self.queries, QUERY, self.dims),
            encode(model, self.documents, DOCUMENT, self.dims),
        )
        # float32, the precision of the embeddings: similarities that differ only by rounding become equal.
        return compare_rows(queries, documents, self.similarity).astype("float32")


def _usable_judgments(
    corpus: Mapping[Any, str], queries: Mapping[Any, str], judgments: Mapping[Any, Judgments]
) -> dict[Hashable, dict[Hashable, float]]:
    """Judgments of the queries that have a text and a relevant document."""
    for name, texts in (("corpus", corpus), ("queries", queries), ("judgments", judgments)):
        if not texts:
            raise DataError(f"`{name}` must not be empty.")
    known = {query: documents for query, documents in judgments.items() if query in queries}
    _check_matches("queries", queries, judgments, len(known))
    named = [document for documents in known.values() for document in documents]
    in_corpus = sum(document in corpus for document in named)
    _check_matches("corpus", corpus, named, in_corpus)
    grades = finite_numbers("judgments", [grade for documents in known.values() for grade in documents.values()])
    if not (grades > 0).any():
        raise DataError("`judgments` must have a grade above 0: no document is relevant.")
    if len(known) < len(judgments) or in_corpus < len(named):
        LOGGER.warning(
            "%d of %d judged queries have no text and are left out; %d of %d judged documents are not in the corpus "
            "and cannot be found.",
            *(len(judgments) - len(known), len(judgments), len(named) - in_corpus, len(named)),
        )
    values = {query: {d: float(y) for d, y in documents.items()} for query, documents in known.items()}
    return {query: documents for query, documents in values.items() if any(y > 0 for y in documents.values())}


def _check_matches(name: str, texts: Mapping[Any, str], named: Any, matches: int) -> None:
    if not matches:
        raise DataError(
            f"`judgments` name none of the ids of `{name}`. Received: {next(iter(named), None)!r} in the judgments, "
            f"{next(iter(texts))!r} in `{name}`."
        )


def _arrays(values: Mapping[str, Sequence[float]]) -> dict[str, Array]:
    return {name: np.array(column) for name, column in values.items()}


def _means(values: Mapping[str, Array]) -> dict[str, float]:
    return {name: float(column.mean()) for name, column in values.items()}
