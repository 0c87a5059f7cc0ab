"""Embeds texts and searches documents with a bi-encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal, NotRequired, Protocol, Required

import keras
import numpy as np
from pydantic import FailFast, Field

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.evaluation.encoding import DOCUMENT, QUERY
from ml4ir_losses.model.embedding_model import EmbeddingModel
from ml4ir_losses.serving.answers import EmbedAnswer, SearchAnswer
from ml4ir_losses.serving.batcher import Batcher
from ml4ir_losses.serving.columns import typed
from ml4ir_losses.serving.errors import RequestError
from ml4ir_losses.serving.operation import Operation, Pending
from ml4ir_losses.serving.reading import Reader, known_names
from ml4ir_losses.serving.settings import Batching, Limits

_BATCH = 256  # texts that the model embeds at once
_TOP = 10


class Index(Protocol):
    """The documents of a search, with their embeddings."""

    @property
    def ids(self) -> Sequence[str]:
        """The id of each document."""

    @property
    def texts(self) -> Sequence[str] | None:
        """Their texts; None: they are not kept."""

    def search(self, embeddings: Array, k: int) -> tuple[Array, Array]:
        """Similarities and rows of the k nearest documents of each embedding [Q, D], [Q, k], the nearest one first."""


@dataclass(frozen=True)
class Texts:
    """Texts of one column to embed; for `top`, the nearest documents of each are wanted in their place."""

    texts: Sequence[str]
    column: str
    top: int = 0


class Embedding:
    """The operations `embed` and, with an index, `search` of a model.

    Args:
        model: the model.
        index: the documents to search; None: there are none.
        limits: what is refused.
        batching: how requests are joined.
        served: name and version of the run.
    """

    def __init__(
        self,
        model: EmbeddingModel,
        index: Index | None,
        limits: Limits,
        batching: Batching,
        served: Mapping[str, str],
    ) -> None:
        self.model, self.index, self.served = model, index, served
        self.batcher: Batcher[Texts, Any] = Batcher(self._call, batching)
        texts = Annotated[list[str], FailFast(), Field(min_length=1, max_length=limits.documents)]
        sides = NotRequired[Literal["query", "document"]]
        embed = typed("EmbedRequest", {"texts": Required[texts], "side": sides})
        self.read_embed = Reader({"texts": embed}, len, known_names(("texts", "side")), limits.depth)
        example: dict[str, Any] = {"texts": [_example_text(model)], "side": "query"}
        self.operations = {
            "embed": Operation(self.embed, (embed,), EmbedAnswer, example, "The embedding of each text.")
        }
        if index is not None:
            queries = Annotated[list[str], FailFast(), Field(min_length=1, max_length=limits.queries)]
            top = NotRequired[Annotated[int, Field(ge=1, le=limits.top)]]
            search = typed("SearchRequest", {"queries": Required[queries], "top": top})
            self.read_search = Reader({"queries": search}, len, known_names(("queries", "top")), limits.depth)
            example = {"queries": [_example_text(model)], "top": 3}
            start, summary = partial(self.search, index), "The documents that are nearest to each query."
            self.operations["search"] = Operation(start, (search,), SearchAnswer, example, summary)

    def embed(self, body: bytes) -> Pending:
        """Begins the answer to a request for embeddings.

        Raises:
            UserError: for a request that cannot be answered.
        """
        request = self.read_embed(body)
        column = QUERY if request.get("side", "query") == "query" else DOCUMENT
        texts = Texts(request["texts"], column)

        def answer(results: Sequence[Any]) -> dict[str, Any]:
            embeddings: Array = results[0]
            _check_finite(np.isfinite(embeddings), "texts")
            return {**self.served, "embeddings": embeddings.tolist()}

        return Pending([self.batcher.submit(texts, len(texts.texts))], answer, documents=len(texts.texts))

    def search(self, index: Index, body: bytes) -> Pending:
        """Begins the answer to a request for the nearest documents.

        Raises:
            UserError: for a request that cannot be answered.
        """
        request = self.read_search(body)
        texts = Texts(request["queries"], QUERY, request.get("top", _TOP))

        def answer(results: Sequence[Any]) -> dict[str, Any]:
            scores, rows = results[0]
            _check_finite(np.isfinite(scores), "queries")
            found = zip(texts.texts, scores.tolist(), rows.tolist(), strict=True)
            queries = [{"query": query, "documents": _found(index, *both)} for query, *both in found]
            return {**self.served, "results": queries}

        return Pending([self.batcher.submit(texts, len(texts.texts))], answer, queries=len(texts.texts))

    def _call(self, items: Sequence[Texts]) -> list[Any]:
        """The embeddings of each item, or the similarities and rows of the nearest documents."""
        results: dict[int, Any] = {}
        for column in dict.fromkeys(item.column for item in items):
            chosen = [i for i, item in enumerate(items) if item.column == column]
            texts = [text for i in chosen for text in items[i].texts]
            parts = np.split(self._embed(texts, column), np.cumsum([len(items[i].texts) for i in chosen])[:-1])
            results |= zip(chosen, parts, strict=True)
        searches = [i for i, item in enumerate(items) if item.top]
        if searches and self.index is not None:
            top, sizes = max(items[i].top for i in searches), np.cumsum([len(results[i]) for i in searches])[:-1]
            scores, rows = self.index.search(np.concatenate([results[i] for i in searches]), top)
            for i, *both in zip(searches, np.split(scores, sizes), np.split(rows, sizes), strict=True):
                results[i] = [part[:, : items[i].top] for part in both]
        return [results[i] for i in range(len(items))]

    def _embed(self, texts: Sequence[str], column: str) -> Array:
        size = _BATCH
        if keras.backend.backend() == "jax":  # which fills a batch up, and compiles each size of it
            size = min(size, 1 << (len(texts) - 1).bit_length())
        return self.model.encode(texts, column, size)


def _found(index: Index, scores: Sequence[float], rows: Sequence[int]) -> list[dict[str, Any]]:
    """The documents of these rows."""
    return [
        {"id": index.ids[row], "rank": rank, "score": score, "text": None if index.texts is None else index.texts[row]}
        for rank, (score, row) in enumerate(zip(scores, rows, strict=True), 1)
    ]


def _check_finite(finite: Array, part: str) -> None:
    """Raises `RequestError` for the first text with a number that is not finite, by a mask [texts, numbers]."""
    wrong = ~finite.all(axis=1)
    if wrong.any():
        raise RequestError(f"{part}[{int(np.argmax(wrong))}]: the model gives no finite numbers for it.")


def _example_text(model: EmbeddingModel) -> str:
    words = getattr(model.tokenizer, "vocabulary", None) or ["a", "text"]
    return " ".join(map(str, words[:3]))
