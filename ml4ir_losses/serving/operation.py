"""What a run answers: a function from the body of a request to results that are on their way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Pending:
    """An answer whose parts are being computed.

    Attributes:
        parts: what the model gives.
        finish: makes the answer of their results; raises `RequestError` where they make none.
        queries: the number of queries that are answered.
        documents: the number of documents that are scored, or texts that are embedded.
    """

    parts: Sequence[Future[Any]]
    finish: Callable[[Sequence[Any]], Mapping[str, Any]]
    queries: int = 0
    documents: int = 0

    def result(self, timeout: float | None = None) -> Mapping[str, Any]:
        """The answer, once it is there."""
        return self.finish([part.result(timeout) for part in self.parts])


@dataclass(frozen=True)
class Operation:
    """One of the things that a run does on request.

    Attributes:
        start: begins the answer to a body; raises `UserError` for one that cannot be answered.
        requests: the types that a body may have.
        answer: the type of the answer.
        example: a request that can be answered.
        summary: what the answer holds.
    """

    start: Callable[[bytes], Pending]
    requests: Sequence[Any]
    answer: Any
    example: Mapping[str, Any]
    summary: str
