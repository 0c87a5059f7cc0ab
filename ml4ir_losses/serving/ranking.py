"""Ranks the documents of queries with a model of features, or of pairs of texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ml4ir_losses.core.errors import did_you_mean
from ml4ir_losses.model.relevance_model import RelevanceModel
from ml4ir_losses.serving.answers import RankAnswer
from ml4ir_losses.serving.batcher import Batcher
from ml4ir_losses.serving.columns import columns_of, rank_types
from ml4ir_losses.serving.encoding import EncodedQuery, Encoder
from ml4ir_losses.serving.errors import RequestError
from ml4ir_losses.serving.examples import rank_example
from ml4ir_losses.serving.model_call import ModelCall, Scores
from ml4ir_losses.serving.operation import Operation, Pending
from ml4ir_losses.serving.reading import Path, Reader
from ml4ir_losses.serving.settings import Batching, Limits


class Ranking:
    """The operation `rank` of a model.

    Args:
        model: the model.
        limits: what is refused.
        batching: how requests are joined.
        served: name and version of the run.
    """

    def __init__(self, model: RelevanceModel, limits: Limits, batching: Batching, served: Mapping[str, str]) -> None:
        self.model, self.served = model, served
        self.columns = columns_of(model.fitted)
        self.of_query = [name for name, column in self.columns.items() if column.scope == "query"]
        self.encode = Encoder(model)
        self.call = ModelCall(model)
        self.batcher: Batcher[EncodedQuery | Callable[[], Any], Any] = Batcher(self._work, batching)
        many, single = rank_types(self.columns, limits)
        self.read = Reader({"queries": many, "documents": single}, _members, self.hint, limits.depth)
        example = rank_example(model.fitted, self.columns)
        self.operation = Operation(
            self.rank, (many, single), RankAnswer, example, "The documents of each query, the best one first."
        )

    def rank(self, body: bytes) -> Pending:
        """Begins the answer to a request.

        Raises:
            UserError: for a request that cannot be answered.
        """
        request = self.read(body)
        queries = request.get("queries") or [request]
        _check_ids(queries)
        encoded = self.encode(queries)
        parts = [self.batcher.submit(query, query.size) for query in encoded]
        return Pending(
            parts,
            lambda scores: self._answer(queries, scores, request.get("top")),
            queries=len(encoded),
            documents=sum(query.size for query in encoded),
        )

    def _work(self, items: Sequence[EncodedQuery | Callable[[], Any]]) -> list[Any]:
        """The scores of all queries among the items, and what the other items give."""
        queries = [item for item in items if isinstance(item, EncodedQuery)]
        scores = iter(self.call(queries) if queries else ())
        return [next(scores) if isinstance(item, EncodedQuery) else item() for item in items]

    def _answer(
        self, queries: Sequence[Mapping[str, Any]], scores: Sequence[Scores], top: int | None
    ) -> dict[str, Any]:
        results = [
            {"query_id": query.get("query_id"), "documents": _ranked(query["documents"], found, top, place)}
            for place, (query, found) in enumerate(zip(queries, scores, strict=True))
        ]
        return {**self.served, "results": results}

    def hint(self, path: Path) -> str:
        """Advice about an unknown name at a path of a request."""
        name, *above = reversed(path)
        if isinstance(above[0] if above else "", int) and "documents" in above:
            if name in self.of_query:
                return " It belongs to the query: put it into `query`."
            return did_you_mean(str(name), ["id", *(n for n in self.columns if n not in self.of_query)])
        if above and above[0] == "query":
            return did_you_mean(str(name), self.columns)
        return did_you_mean(str(name), ["queries", "query", "query_id", "documents", "top", "compare"])


def _ranked(documents: Sequence[Mapping[str, Any]], found: Scores, top: int | None, place: int) -> list[dict[str, Any]]:
    """The documents of a query by descending logit; equal ones keep their order."""
    finite = np.isfinite(found.logit) & np.isfinite(found.score)
    if not finite.all():
        index = int(np.argmin(finite))
        raise RequestError(f"queries[{place}].documents[{index}]: the model gives no finite score for it.")
    order = np.argsort(-found.logit, kind="stable")[:top]
    rows = zip(order.tolist(), found.score[order].tolist(), found.logit[order].tolist(), strict=True)
    return [
        {"id": documents[index].get("id"), "index": index, "score": score, "logit": logit, "rank": rank}
        for rank, (index, score, logit) in enumerate(rows, 1)
    ]


def _check_ids(queries: Sequence[Mapping[str, Any]]) -> None:
    """Raises `RequestError` for an id that two documents of a query have."""
    for place, query in enumerate(queries):
        ids = [document["id"] for document in query["documents"] if "id" in document]
        if len(set(ids)) < len(ids):
            repeated = next(one for i, one in enumerate(ids) if one in ids[:i])
            raise RequestError(f"queries[{place}].documents: the id {repeated!r:.60} occurs twice.")


def _members(request: Mapping[str, Any]) -> int:
    queries = request.get("queries")
    if queries is None:
        return _members_of_query(request)
    return len(request) + sum(map(_members_of_query, queries))


def _members_of_query(query: Mapping[str, Any]) -> int:
    return len(query) + len(query.get("query", ())) + sum(map(len, query["documents"]))
