"""What a server allows a request, and how it joins requests."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What is refused.

    Attributes:
        bytes: the most bytes of a request's body.
        head: the most bytes of a request's path and headers.
        documents: the most documents of a query.
        queries: the most queries of a request.
        depth: the most levels of lists and objects in a body.
        top: the most results of a search.
        seconds: the most time for reading a body, and for an answer.
        connections: the most connections that are open.
    """

    bytes: int = 4 << 20
    head: int = 32 << 10
    documents: int = 1_000
    queries: int = 64
    depth: int = 16
    top: int = 1_000
    seconds: float = 10.0
    connections: int = 512


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


@dataclass(frozen=True)
class Stopping:
    """How long a server goes on after a signal to stop.

    Attributes:
        drain: the seconds until no connection is accepted any more; `/readyz` says meanwhile that it stops.
        grace: the most seconds, after that, for answers to the requests that it has.
    """

    drain: float = 0.0
    grace: int = 30
