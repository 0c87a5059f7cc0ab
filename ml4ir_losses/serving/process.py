"""uvicorn in this process: what it does at signals, and in which order a server starts and stops."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.serving.connections import Connection
from ml4ir_losses.serving.current import Current, Loaded
from ml4ir_losses.serving.health import harden
from ml4ir_losses.serving.metrics import Metrics
from ml4ir_losses.serving.reloading import Reloader, release_memory
from ml4ir_losses.serving.settings import Limits, Stopping

STOPS = (signal.SIGINT, signal.SIGTERM)
RELOADS = getattr(signal, "SIGHUP", None)  # Windows has none


class Server(uvicorn.Server):
    """uvicorn's server: it loads the run when it listens and again at SIGHUP, drains before it stops, and then returns.

    Args:
        listening: the socket.
        run: the run folder, or a link to one.
        load: opens a run folder.
        make_app: makes the routes.
        limits: what is refused.
        stopping: how long it goes on after a signal to stop.
        key: the API key that requests need; None: none.
        watch: see `Reloader`.
        keep_alive: the seconds that a connection may be idle.
    """

    def __init__(
        self,
        listening: socket.socket,
        run: Path,
        load: Callable[[Path], Loaded],
        make_app: Callable[[Current[Any], Limits], FastAPI],
        *,
        limits: Limits,
        stopping: Stopping,
        key: str | None = None,
        watch: float | None = None,
        keep_alive: int = 75,
    ) -> None:
        self.current: Current[Loaded] = Current(released=release_memory)
        self.metrics = Metrics(self.current)
        self.reloader = Reloader(run, load, self.current, self.metrics, watch)
        self.listening, self.stopping = listening, stopping
        self._stops_at: float | None = None
        config = uvicorn.Config(
            harden(make_app(self.current, limits), self.current, limits, self.metrics, key),
            http=type("Connection", (Connection,), {"limits": limits}),
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=keep_alive,
            timeout_graceful_shutdown=stopping.grace,
        )
        super().__init__(config)

    def answer_requests(self) -> None:
        """Answers requests until the process is told to stop.

        Raises:
            UserError: for a run that cannot be served.
        """
        host, port = self.listening.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        LOGGER.info("listening", extra={"fields": {"url": url, "run": str(self.reloader.run)}})
        self.run(sockets=[self.listening])
        self.reloader.stop(self.stopping.grace)
        self.current.close(self.stopping.grace)
        if self.reloader.failure is not None:
            raise self.reloader.failure
        LOGGER.info("stopped")

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.reloader.start(failed=self.stop)

    def stop(self) -> None:
        """Stops at once, after the requests that are being answered."""
        self.current.stop()
        self._stops_at = time.monotonic()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handles signals within the block, where this is the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers: dict[int, Callable[..., Any]] = dict.fromkeys(STOPS, self.handle_exit)
        if RELOADS is not None:
            handlers[RELOADS] = lambda number, frame: self.reloader.request()
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Begins to stop; a second signal does not wait for the drain, a third one for requests."""
        if self._stops_at is None:
            LOGGER.info("stopping", extra={"fields": {"signal": signal.Signals(sig).name}})
            self.current.stop()
            self._stops_at = time.monotonic() + self.stopping.drain
        elif time.monotonic() < self._stops_at:
            self.stop()
        else:
            self.force_exit = True

    async def on_tick(self, counter: int) -> bool:
        if self._stops_at is not None and time.monotonic() >= self._stops_at:
            self.should_exit = True
        return await super().on_tick(counter)
