"""The types of the answers."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

Kind = Literal["ranking", "embedding", "pairs"]


@with_config(ConfigDict(extra="forbid"))
class Closed(TypedDict):
    """An object without other names."""


class Served(Closed):
    """Which run gave an answer."""

    run: str
    version: str


class RankedDocument(Closed):
    """A document, with its id and its place in the request, and what the model gives for it."""

    id: str | int | None
    index: int
    score: float
    logit: float
    rank: int


class RankedQuery(Closed):
    """The documents of a query, the best one first."""

    query_id: str | int | None
    documents: list[RankedDocument]


class RankAnswer(Served):
    """The queries of a request, in its order."""

    results: list[RankedQuery]


class Contribution(Closed):
    """What a feature adds to a logit, and the standard error of that: 0 if it is exact, null if it is unknown."""

    feature: str
    contribution: float
    error: float | None


class ExplainedDocument(Closed):
    """A document with its rank among all documents of the request; the largest contribution comes first."""

    id: str | int | None
    index: int
    rank: int
    logit: float
    contributions: list[Contribution]


class ExplainAnswer(Served):
    """The documents that are compared; the last one is what the others are compared with."""

    query_id: str | int | None
    method: Literal["exact", "permutation", "shap"]
    documents: list[ExplainedDocument]


class EmbedAnswer(Served):
    """The embedding of each text."""

    embeddings: list[list[float]]


class FoundDocument(Closed):
    """A document that is near a query."""

    id: str
    rank: int
    score: float
    text: str | None


class FoundDocuments(Closed):
    """The documents that are nearest to a query, the nearest one first."""

    query: str
    documents: list[FoundDocument]


class SearchAnswer(Served):
    """The queries of a request, in its order."""

    results: list[FoundDocuments]


class ErrorAnswer(Closed):
    """Why there is no answer, in one line."""

    error: str


class ColumnAnswer(Closed):
    """A column of a request."""

    name: str
    kind: str
    scope: Literal["query", "document"]
    size: NotRequired[int]


class ModelAnswer(Served):
    """What is served."""

    kind: Kind
    columns: list[ColumnAnswer]
    operations: list[str]
    limits: dict[str, Any]
