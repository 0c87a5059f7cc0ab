"""Evaluators of retrieval and of reranking; those of pairs and triplets are in `pair_evaluators`."""

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
    "Evaluator",
    "RerankingEvaluator",
    "RetrievalEvaluator",
    "SimilarityEvaluator",
    "TripletEvaluator",
]

Rankings = Mapping[Any, Sequence[Hashable]]
_SEED = 0  # of the order of equals


class Evaluator(Protocol):
    """What says how good a model is."""

    def evaluate(self, model: Any) -> dict[str, float]:
        """Values by name."""


class RetrievalEvaluator:
    """Search of a whole corpus: `ndcg_10`, `mrr_10`, `map_100`, `recall_100`, means over the judged queries.

    The corpus is encoded and searched block by block: memory is one block of embeddings, and the best documents of
    each query. Documents come in a drawn order, the same each time, so that their place in the corpus does not decide
    between equals. Gains are the grades, as in trec_eval; documents that are not judged have the grade 0. A query
    without a relevant document does not count.

    Args:
        corpus: text by document id.
        queries: text by query id; those without judgments are left out.
        judgments: grade by document id, by query id; above 0 is relevant.
        metrics: pairs of `ndcg`, `mrr`, `map` or `recall`, and how many ranks count (None: all).
        similarity: `cosine`, `dot` or `euclidean`.
        dims: only the first dimensions of the embeddings, for models trained with `matryoshka`; None: all.
        block: documents at a time.

    Raises:
        DataError: for an empty corpus, and judgments that name none of the queries or documents or nothing relevant.
        UserError: for parameters that are not allowed.
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
        self.judgments = _judged(corpus, queries, judgments)
        self.queries = {query: queries[query] for query in self.judgments}
        self.corpus, self.metrics, self.similarity, self.dims, self.block = corpus, metrics, similarity, dims, block

    @property
    def query_ids(self) -> list[Hashable]:
        """The queries that count, in the order of `per_query`."""
        return list(self.judgments)

    def evaluate(self, model: BiEncoder | Rankings) -> dict[str, float]:
        """Means of the metrics, of a bi-encoder or of rankings (document ids by query id, best first)."""
        return _means(self.per_query(model))

    def per_query(self, model: BiEncoder | Rankings) -> dict[str, Array]:
        """Every metric of every query of `query_ids`."""
        rankings = model if isinstance(model, Mapping) else self.rankings(model, self._depth())
        if not any(query in rankings for query in self.queries):
            raise DataError(
                f"The rankings name none of the judged queries. Received: {next(iter(rankings), None)!r} in the "
                f"rankings, {next(iter(self.queries))!r} in the judgments."
            )
        return _arrays(evaluate_rankings(rankings, self.judgments, self.metrics))

    def rankings(self, model: BiEncoder, k: int) -> dict[Hashable, list[Hashable]]:
        """The ids of the k most similar documents of every query of `query_ids`, best first."""
        check_whole(1, k=k)
        ids = list(self.corpus)
        order = np.random.default_rng(_SEED).permutation(len(ids))
        nearest = Nearest(encode(model, list(self.queries.values()), QUERY, self.dims), k, self.similarity)
        for start in range(0, len(ids), self.block):
            texts = [self.corpus[ids[row]] for row in order[start : start + self.block]]
            nearest.add(encode(model, texts, DOCUMENT, self.dims))
        _, rows = nearest.result()
        return {query: [ids[row] for row in order[found]] for query, found in zip(self.queries, rows, strict=True)}

    def _depth(self) -> int:
        return max((len(self.corpus) if topn is None else topn for _, topn in self.metrics), default=1)


class RerankingEvaluator:
    """The order of each query's own documents: `ndcg_10`, `mrr_10`, `map`, means over the queries.

    Documents with equal scores come in a drawn order, the same each time, so that the order of the rows does not
    decide. A query without a relevant document does not count.

    Args:
        queries: the query of each row.
        documents: the document of each row.
        grades: the grade of each row; above 0 is relevant.
        query_ids: which rows belong together; None: those of one query text.
        metrics: as for `RetrievalEvaluator`.
        similarity: of bi-encoders: `cosine`, `dot`, `euclidean` or `manhattan`.
        dims: of bi-encoders: only the first dimensions of the embeddings; None: all.

    Raises:
        DataError: for columns of different lengths, grades that are not finite, and no relevant document at all.
        UserError: for parameters that are not allowed.
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
        """The queries that count, in the order of `per_query`."""
        return list(self.groups)

    def evaluate(self, model: BiEncoder | CrossEncoder) -> dict[str, float]:
        """Means of the metrics; a model with `score_pairs` scores the pairs, any other encodes both sides."""
        return _means(self.per_query(model))

    def per_query(self, model: BiEncoder | CrossEncoder) -> dict[str, Array]:
        """Every metric of every query of `query_ids`."""
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
        # float32, what the embeddings hold: similarities that differ by rounding alone are equal.
        return compare_rows(queries, documents, self.similarity).astype("float32")


def _judged(
    corpus: Mapping[Any, str], queries: Mapping[Any, str], judgments: Mapping[Any, Judgments]
) -> dict[Hashable, dict[Hashable, float]]:
    """The judgments that count: of queries that have a text, with a relevant document."""
    for name, texts in (("corpus", corpus), ("queries", queries), ("judgments", judgments)):
        if not texts:
            raise DataError(f"`{name}` must not be empty.")
    known = {query: documents for query, documents in judgments.items() if query in queries}
    _check_named("queries", queries, judgments, len(known))
    named = [document for documents in known.values() for document in documents]
    found = sum(document in corpus for document in named)
    _check_named("corpus", corpus, named, found)
    grades = finite_numbers("judgments", [grade for documents in known.values() for grade in documents.values()])
    if not (grades > 0).any():
        raise DataError("`judgments` must have a grade above 0: no document is relevant.")
    if len(known) < len(judgments) or found < len(named):
        LOGGER.warning(
            "%d of %d judged queries have no text and are left out; %d of %d judged documents are not in the corpus "
            "and cannot be found.",
            *(len(judgments) - len(known), len(judgments), len(named) - found, len(named)),
        )
    values = {query: {d: float(y) for d, y in documents.items()} for query, documents in known.items()}
    return {query: documents for query, documents in values.items() if any(y > 0 for y in documents.values())}


def _check_named(name: str, texts: Mapping[Any, str], named: Any, found: int) -> None:
    if not found:
        raise DataError(
            f"`judgments` name none of the ids of `{name}`. Received: {next(iter(named), None)!r} in the judgments, "
            f"{next(iter(texts))!r} in `{name}`."
        )


def _arrays(values: Mapping[str, Sequence[float]]) -> dict[str, Array]:
    return {name: np.array(column) for name, column in values.items()}


def _means(values: Mapping[str, Array]) -> dict[str, float]:
    return {name: float(column.mean()) for name, column in values.items()}
