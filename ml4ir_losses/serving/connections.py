"""Connections that a client cannot hold open, or fill memory with, by sending or reading slowly or too much."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ml4ir_losses.serving.settings import Limits

_CHUNKING = 8  # the most by which a body may grow by being sent in chunks
_PIPELINED = 64  # the most requests that wait for the answer to one before them
_LINGER = 2.0  # seconds for what a client still sends when its request is answered
_STOP = 0.5  # seconds for a request that is on its way when the server stops


class Connection(HttpToolsProtocol):
    """A connection of uvicorn with a time for everything that it waits for, and a size for what no route sees.

    The head of a request must arrive in `limits.seconds`, as its body must (`Guard` measures that), and the answer must
    be read in that time. A slow client does not get more time by sending single bytes.
    """

    limits = Limits()

    def connection_made(self, transport: Any) -> None:
        self._received = 0  # bytes of the request that is being read
        self._in_body = self._is_refused = self._is_stopping = False
        self._phase: str | None = None
        self._deadline: Any = None
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            self._refuse(503, "too many connections are open; try again.")
            self.transport.close()
        self._update()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        self._received += len(data)
        super().data_received(data)
        is_flood = self._in_body and self._received > self.limits.head + _CHUNKING * self.limits.bytes
        if is_flood or len(self.pipeline) > _PIPELINED:
            self.transport.abort()
        elif not self._in_body and self._received > self.limits.head:
            self._refuse(431, f"the head of the request has more than {self.limits.head:,} bytes.")
        self._update()

    def on_headers_complete(self) -> None:
        self._in_body = True
        super().on_headers_complete()
        if self._is_stopping:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._received, self._in_body = 0, False

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._update()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._update()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._update()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._update()

    def shutdown(self) -> None:
        """Ends the connection after the answer; an idle one a moment later, for a request that is on its way."""
        self._is_stopping = True
        if self._is_answering():
            self.cycle.keep_alive = False
        self._update()

    def send_400_response(self, msg: str) -> None:
        """Answers what is not HTTP."""
        self._refuse(400, "the request is not HTTP.")

    def _is_answering(self) -> bool:
        return self.cycle is not None and not (self.cycle.response_complete or self.cycle.disconnected)

    def _refuse(self, status: int, error: str) -> None:
        """Sends an answer without a route, and ends the connection when the client has had time to read it."""
        if self._is_refused:
            return
        self._is_refused = True
        if self._is_answering() and not self._in_body:  # whole requests before this one: they are answered, and no more
            self.cycle.keep_alive = False
            return
        if self._is_answering():
            if self.pipeline or self.cycle.response_started:
                self.transport.close()
                return
            self.cycle.disconnected = True  # the rest of its body never comes
            self.cycle.message_event.set()
        body = json.dumps({"error": error}).encode()
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)

    def _waits_for(self) -> tuple[str, float | None]:
        """What the client has to do next, and in how many seconds."""
        if self.transport.is_closing() or self.flow.write_paused:
            return "read", self.limits.seconds
        if self._is_answering():
            return "wait", None
        if self._in_body or self._is_refused:
            return "end", _LINGER
        if self._received:
            return "head", self.limits.seconds
        if self._is_stopping:
            return "stop", _STOP
        return "begin", self.limits.seconds if self.cycle is None else self.timeout_keep_alive

    def _update(self) -> None:
        """Sets the deadline of a phase when it begins."""
        phase, seconds = self._waits_for()
        if phase == self._phase:
            return
        self._phase = phase
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self._late)

    def _late(self) -> None:
        if self._phase == "read":
            self.transport.abort()
        elif self._phase == "head":
            self._refuse(408, f"the head of the request did not arrive within {self.limits.seconds:g} seconds.")
        else:
            self.transport.close()
        self._update()
