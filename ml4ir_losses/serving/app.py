"""The HTTP interface of a served run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from pydantic_core import to_json
from starlette.exceptions import HTTPException

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.serving.current import Current
from ml4ir_losses.serving.errors import CLIENT_GONE, Overloaded, RequestError
from ml4ir_losses.serving.guard import count
from ml4ir_losses.serving.operation import Pending
from ml4ir_losses.serving.page import page_routes
from ml4ir_losses.serving.service import Service
from ml4ir_losses.serving.settings import Limits

OPERATIONS = ("rank", "embed", "search", "explain")
RETRY_AFTER = "1"  # seconds
_UNWATCHED = 0.05  # seconds of an answer in which nobody looks whether the client is still there
_LARGE = 256 << 10  # bytes of a body that is read in a thread, so that other requests are answered meanwhile


def make_app(current: Current[Service], limits: Limits) -> FastAPI:
    """The application that answers requests with the current service.

    Args:
        current: `with current.use() as service` gives the service, and keeps it open for the block.
        limits: what is refused.
    """
    app = FastAPI(title="ml4ir-losses", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)

    def answering(operation: str) -> Any:
        async def answer(request: Request) -> Response:
            body = await request.body()
            with current.use() as service:
                if len(body) < _LARGE:
                    pending = service.start(operation, body)
                else:
                    pending = await asyncio.to_thread(service.start, operation, body)
                request.scope.setdefault("state", {})["version"] = service.version
                count(request.scope, queries=pending.queries, documents=pending.documents)
                results = await _results(request, pending, limits.seconds)
                return Response(status_code=CLIENT_GONE) if results is None else json_response(pending.finish(results))

        return answer

    for operation in OPERATIONS:
        app.add_route(f"/v1/{operation}", answering(operation), ["POST"])

    async def model(request: Request) -> Response:
        with current.use() as service:
            return json_response(service.describe())

    async def openapi(request: Request) -> Response:
        with current.use() as service:
            return json_response(service.api)

    app.router.routes.extend(page_routes())
    app.add_route("/v1/model", model, ["GET"])
    app.add_route("/openapi.json", openapi, ["GET"])
    _answer_errors(app)
    return app


def json_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(to_json(content), status, headers, media_type="application/json")


def error_response(message: str, status: int, headers: dict[str, str] | None = None) -> Response:
    """`{"error": message}`."""
    return json_response({"error": message}, status, headers)


async def _results(request: Request, pending: Pending, seconds: float) -> Sequence[Any] | None:
    """What the model gives; None if the client is gone.

    Raises:
        Overloaded: if it takes too long; what waits is not computed.
    """
    parts = [asyncio.wrap_future(part) for part in pending.parts]
    try:
        await asyncio.wait(parts, timeout=min(seconds, _UNWATCHED))
        is_gone = not _done(parts) and await _watched(request, parts, seconds - _UNWATCHED)
        if _done(parts):
            errors = [part.exception() for part in parts]
            for error in filter(None, errors):
                raise error
            return [part.result() for part in parts]
    finally:
        for part, future in zip(parts, pending.parts, strict=True):  # which does nothing to those that are done
            future.cancel()
            part.cancel()
    if is_gone:
        return None
    raise Overloaded(f"there is no answer within {seconds:g} seconds; try again.")


def _done(parts: Sequence[asyncio.Future[Any]]) -> bool:
    return all(part.done() for part in parts)


async def _watched(request: Request, parts: Sequence[asyncio.Future[Any]], seconds: float) -> bool:
    """Waits until all parts are done, at most so long; True if the client goes away before."""
    gone = asyncio.ensure_future(_disconnected(request))
    done = asyncio.ensure_future(asyncio.wait(parts))
    await asyncio.wait({gone, done}, timeout=max(seconds, 0.0), return_when=asyncio.FIRST_COMPLETED)
    done.cancel()
    return not gone.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _answer_errors(app: FastAPI) -> None:
    @app.exception_handler(UserError)
    async def wrong(request: Request, error: UserError) -> Response:
        status = error.status if isinstance(error, RequestError) else RequestError.status
        headers = {"Retry-After": RETRY_AFTER} if isinstance(error, Overloaded) else None
        return error_response(str(error), status, headers)

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> Response:
        return error_response(str(error.detail), error.status_code, dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return error_response("the server failed; its log says why.", 500)  # the error is raised again, and logged
