"""The service that answers requests, and its replacement by another without a lost request."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

from ml4ir_losses.serving.batcher import Batcher
from ml4ir_losses.serving.errors import Overloaded


class Loaded(Protocol):
    """A loaded run: what a `Current` holds, and a `Reloader` replaces.

    Attributes:
        version: tells its model from others.
        kind: what it does, such as `ranking`.
        columns: the columns of its requests, by name.
        batcher: what calls the model.
    """

    @property
    def version(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def columns(self) -> Mapping[str, object]: ...

    @property
    def batcher(self) -> Batcher[Any, Any]: ...

    def warm_up(self) -> None:
        """Answers a request of its own; raises `UserError` if it cannot."""

    def close(self) -> None:
        """Frees what it holds; no request uses it any more."""


S = TypeVar("S", bound=Loaded)


class _Held(Generic[S]):
    """A service and the number of requests that use it."""

    def __init__(self, service: S) -> None:
        self.service, self.requests, self.retired = service, 0, False


class Current(Generic[S]):
    """The service that new requests use. A replaced one lives until its last request is answered.

    Methods may be called by any thread.

    Attributes:
        is_closing: True when the server is about to stop.

    Args:
        service: the first service; None: `use` raises `Overloaded` until `replace` gives one.
        released: called after a service was closed and dropped.
    """

    def __init__(self, service: S | None = None, released: Callable[[], object] = lambda: None) -> None:
        self._lock = threading.Condition()
        self._held = None if service is None else _Held(service)
        self._alive = 0 if service is None else 1  # services that are not closed yet
        self.is_closing = False
        self._released = released

    @contextmanager
    def use(self) -> Iterator[S]:
        """The current service, which stays open within the block.

        Raises:
            Overloaded: before the first service, and after `close`.
        """
        with self._lock:
            held = self._held
            if held is None:
                raise self._unavailable()
            held.requests += 1
        try:
            yield held.service
        finally:
            with self._lock:
                held.requests -= 1
                last = held.retired and not held.requests
            if last:
                self._end(held)

    def replace(self, service: S) -> None:
        """New requests use `service`; the one before is closed when its last request is answered."""
        with self._lock:
            if self.is_closing:
                raise self._unavailable()
            self._alive += 1
            before, self._held = self._held, _Held(service)
        self._retire(before)

    def stop(self) -> None:
        """Tells `ready` that the server is about to close; requests are still answered."""
        self.is_closing = True

    def close(self, timeout: float | None = None) -> bool:
        """Refuses new requests and closes the service; False if requests still use one after `timeout` seconds."""
        with self._lock:
            self.is_closing = True
            before, self._held = self._held, None
        self._retire(before)
        with self._lock:
            return self._lock.wait_for(lambda: not self._alive, timeout)

    @property
    def ready(self) -> bool:
        """True while a model is loaded and the server is not closing."""
        return self._held is not None and not self.is_closing

    @property
    def version(self) -> str | None:
        """The version of the model that new requests get; None without one."""
        held = self._held
        return None if held is None else held.service.version

    @property
    def service(self) -> S | None:
        """The service for a look at its constant attributes; requests take it from `use`."""
        held = self._held
        return None if held is None else held.service

    def _unavailable(self) -> Overloaded:
        return Overloaded(
            "the server stops; try again." if self.is_closing else "the model is being loaded; try again."
        )

    def _retire(self, held: _Held[S] | None) -> None:
        if held is None:
            return
        with self._lock:
            held.retired = True
            unused = not held.requests
        if unused:
            self._end(held)

    def _end(self, held: _Held[S]) -> None:
        """Closes a service in a thread of its own: the last request may end on the event loop, which must not wait."""

        def end() -> None:
            try:
                held.service.close()
            finally:
                del held.service
                with self._lock:
                    self._alive -= 1
                    self._lock.notify_all()
                self._released()

        threading.Thread(target=end, name="closes a service", daemon=True).start()
