"""What stands before every route: limits on bodies, the API key, and that nothing but one line reaches the client."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import json
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from contextlib import suppress
from typing import Any

from ml4ir_losses.serving.current import Current
from ml4ir_losses.serving.errors import CLIENT_GONE
from ml4ir_losses.serving.logs import REQUESTS
from ml4ir_losses.serving.metrics import Metrics
from ml4ir_losses.serving.settings import Limits

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

PROBES = ("/healthz", "/readyz")
"""The paths that need no key."""
_LINGER = 2.0  # seconds for what a client still sends when it is refused
_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class _Refused(Exception):
    """A request that no route sees."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers


class _Gone(Exception):
    """The client went away while its body was read."""


def count(scope: MutableMapping[str, Any], *, queries: int, documents: int = 0) -> None:
    """Tells the log what a request asks for: called by routes with `request.scope`."""
    scope["state"].update(queries=queries, documents=documents)


class Guard:
    """ASGI middleware: it reads and limits the body, checks the key, gives the request an id, logs and counts it.

    Args:
        app: the routes.
        current: the service; the log names its version.
        limits: sizes and times.
        metrics: what counts the requests.
        paths: the paths of the routes; log and metrics name no other.
        key: the API key that requests need; None: none.
    """

    def __init__(
        self,
        app: Asgi,
        current: Current[Any],
        limits: Limits,
        metrics: Metrics,
        paths: Collection[str],
        key: str | None = None,
    ) -> None:
        self.app, self.current, self.limits, self.metrics, self.paths = app, current, limits, metrics, paths
        self._key = None if key is None else key.encode()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, headers = time.perf_counter(), dict(scope["headers"])
        exchange = _Exchange(receive, send, _request_id(headers))
        state = scope.setdefault("state", {})
        state["id"] = exchange.id
        with self.metrics.in_flight.track_inprogress():
            try:
                await self._answer(scope, headers, exchange)
            except _Refused as refused:
                await exchange.refuse(refused.status, str(refused), refused.headers)
            except _Gone:
                exchange.status = CLIENT_GONE
            except Exception:
                REQUESTS.error("internal error", exc_info=True, extra={"fields": {"id": exchange.id}})
                await exchange.refuse(500, "internal error", {}, id=exchange.id)
        self._log(scope, state, exchange, time.perf_counter() - start)

    async def _answer(self, scope: MutableMapping[str, Any], headers: dict[bytes, bytes], exchange: _Exchange) -> None:
        if scope["path"] not in PROBES and not self._has_key(headers):
            raise _Refused(401, "this server needs an API key.", **{"www-authenticate": 'Basic realm="ml4ir-losses"'})
        size = len(scope["raw_path"]) + len(scope["query_string"]) + sum(len(n) + len(v) for n, v in scope["headers"])
        if size > self.limits.head:
            raise _Refused(431, f"the head of the request has more than {self.limits.head:,} bytes.")
        body = await self._body(headers, exchange)
        await self.app(scope, _replayed(body, exchange.receive), exchange.send)

    def _has_key(self, headers: dict[bytes, bytes]) -> bool:
        """True where no key is needed, or the request has it as bearer token or as password of Basic authentication."""
        if self._key is None:
            return True
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() == b"basic":  # browsers ask for it
            try:
                given = base64.b64decode(given.strip(), validate=True).partition(b":")[2]
            except binascii.Error:
                return False
        elif scheme.lower() != b"bearer":
            return False
        return hmac.compare_digest(given.strip(), self._key)

    async def _body(self, headers: dict[bytes, bytes], exchange: _Exchange) -> bytes:
        """The whole body, which is counted while it arrives: a header may be missing or wrong."""
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise _Refused(415, "a compressed body is not read; send it as it is.")
        if _length(headers) > self.limits.bytes:
            raise self._too_large()
        parts, size = [], 0
        try:
            async with asyncio.timeout(self.limits.seconds):
                while not exchange.is_read:
                    part = (await exchange.receive()).get("body", b"")
                    size += len(part)
                    if size > self.limits.bytes:
                        raise self._too_large()
                    parts.append(part)
        except TimeoutError:
            raise _Refused(408, f"the body did not arrive within {self.limits.seconds:g} seconds.") from None
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _too_large(self) -> _Refused:
        return _Refused(413, f"the body has more than {self.limits.bytes:,} bytes, the most that are read.")

    def _log(self, scope: MutableMapping[str, Any], state: dict[str, Any], exchange: _Exchange, seconds: float) -> None:
        route = scope["path"] if scope["path"] in self.paths else None
        status = exchange.status or CLIENT_GONE
        self.metrics.answered(route or "none", status, seconds)
        fields = {
            "id": exchange.id,
            "route": route,
            "status": status,
            "queries": state.get("queries"),
            "documents": state.get("documents"),
            "milliseconds": round(seconds * 1_000, 2),
            "version": state.get("version", self.current.version),
        }
        REQUESTS.info("request", extra={"fields": fields})


class _Exchange:
    """A request and its answer, which holds the request's id.

    Attributes:
        status: the status that was sent; None before.
        is_read: True when the whole body has arrived.
    """

    def __init__(self, receive: Receive, send: Send, request_id: str) -> None:
        self.id = request_id
        self.status: int | None = None
        self.is_read = False
        self._receive, self._send = receive, send

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect" and not self.is_read:
            raise _Gone
        self.is_read = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", self.id.encode())]
        await self._send(message)

    async def refuse(self, status: int, error: str, headers: dict[str, str], **more: str) -> None:
        """Sends one line; nothing where an answer has begun: the server then closes the connection."""
        if self.status is not None:
            return
        body = json.dumps({"error": error, **more}).encode()
        sent = {"content-type": "application/json", "content-length": str(len(body)), **headers}
        encoded = [(name.encode(), value.encode()) for name, value in sent.items()]
        await self.send({"type": "http.response.start", "status": status, "headers": encoded})
        await self.send({"type": "http.response.body", "body": body, "more_body": True})
        await self._read_the_rest()
        await self.send({"type": "http.response.body", "body": b""})

    async def _read_the_rest(self) -> None:
        """Drops what the client still sends: if its connection was closed, it would not read the answer."""
        with suppress(TimeoutError, _Gone):
            async with asyncio.timeout(_LINGER):
                while not self.is_read:
                    await self.receive()


def _request_id(headers: dict[bytes, bytes]) -> str:
    """The id that the client or a proxy gave, else a new one."""
    given = headers.get(b"x-request-id", b"")
    return given.decode() if _ID.fullmatch(given) else uuid.uuid4().hex


def _length(headers: dict[bytes, bytes]) -> int:
    given = headers.get(b"content-length", b"0")
    return int(given) if given.isdigit() and len(given) < 20 else 0


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Gives a body that was read, then what comes after it: that the client went away."""
    unread = True

    async def replay() -> Message:
        nonlocal unread
        if unread:
            unread = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replay
