"""The metrics of a server, in the format of Prometheus."""

from __future__ import annotations

from typing import Any

from ml4ir_losses.core.extras import import_extra
from ml4ir_losses.serving.current import Current

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
DOCUMENTS = (1, 10, 30, 100, 300, 1_000, 3_000, 10_000)


class Metrics:
    """What a server counts and measures, in a registry of its own.

    Args:
        current: the service whose version and queue it shows.
    """

    def __init__(self, current: Current[Any]) -> None:
        client = self._client = import_extra("prometheus_client", "serve", "A server")
        self._registry = client.CollectorRegistry()
        client.ProcessCollector(registry=self._registry)
        self._requests = self._made("Counter", "requests", "Answered requests.", ["route", "status"])
        self._seconds = self._made("Histogram", "request_seconds", "Time of an answer.", ["route"], buckets=SECONDS)
        self.in_flight = self._made("Gauge", "requests_in_flight", "Requests that are being answered.")
        self._sizes = self._made("Histogram", "batch_documents", "Documents of a model call.", buckets=DOCUMENTS)
        self._joined = self._made(
            "Histogram", "batch_queries", "Queries or texts of a model call.", buckets=DOCUMENTS[:5]
        )
        self._made("Gauge", "queue_length", "Requests that wait for the model.").set_function(
            lambda: 0 if current.service is None else current.service.batcher.waiting
        )
        self._model = self._made("Gauge", "model_info", "1 for the version of the current model.", ["version"])
        self._reloads = self._made("Counter", "reloads", "Reloads of the run, by result.", ["result"])
        self._current = current
        for result in ("replaced", "failed"):
            self._reloads.labels(result)

    def _made(self, kind: str, name: str, text: str, labels: list[str] | None = None, **options: Any) -> Any:
        make = getattr(self._client, kind)
        return make(name, text, labels or [], namespace="ml4ir_losses", registry=self._registry, **options)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Counts a request that was answered."""
        self._requests.labels(route, status).inc()
        self._seconds.labels(route).observe(seconds)

    def called(self, requests: int, size: int) -> None:
        """Counts a call of the model for some queries or texts.

        Args:
            requests: the number of the queries or texts.
            size: the number of documents of all queries; of texts, theirs.
        """
        self._joined.observe(requests)
        self._sizes.observe(size)

    def reloaded(self, result: str) -> None:
        """Counts a reload: `replaced` or `failed`."""
        self._reloads.labels(result).inc()

    def text(self) -> bytes:
        """The page that Prometheus reads."""
        self._model.clear()
        version = self._current.version
        if version is not None:
            self._model.labels(version).set(1)
        page: bytes = self._client.generate_latest(self._registry)
        return page

    @property
    def content_type(self) -> str:
        """The type of `text`."""
        return str(self._client.CONTENT_TYPE_LATEST)
