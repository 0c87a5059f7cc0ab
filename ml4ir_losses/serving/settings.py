"""What a server allows a request, and how it joins requests."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What is refused.

    Attributes:
        bytes: the most bytes of a request's body.
        documents: the most documents of a query.
        queries: the most queries of a request.
        depth: the most levels of lists and objects in a body.
        top: the most results of a search.
        seconds: the most time for reading a body, and for an answer.
    """

    bytes: int = 4 << 20
    documents: int = 1_000
    queries: int = 64
    depth: int = 16
    top: int = 1_000
    seconds: float = 10.0


@dataclass(frozen=True)
class Batching:
    """How requests are joined for one call of the model.

    Attributes:
        size: the most documents of a call, padding counted.
        wait: the most milliseconds that a request waits for others while the model is free; 0: it never waits.
        queue: the most requests that wait; more are refused with 503.
    """

    size: int = 8_192
    wait: float = 0.0
    queue: int = 1_024
