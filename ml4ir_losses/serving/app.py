"""The HTTP interface of a served run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.serving.errors import Overloaded, RequestError, TooLate
from ml4ir_losses.serving.openapi import describe_api
from ml4ir_losses.serving.operation import Pending
from ml4ir_losses.serving.settings import Limits

OPERATIONS = ("rank", "embed", "search", "explain")
RETRY_AFTER = "1"  # seconds
_CLOSED = 499  # a status for the log: the client reads it no more
_LARGE = 256 << 10  # bytes of a body that is read in a thread, so that other requests are answered meanwhile


def make_app(current: Any, limits: Limits) -> FastAPI:
    """The application that answers requests with the current service.

    Args:
        current: `with current.use() as service` gives the service, and keeps it open for the block.
        limits: what is refused.
    """
    app = FastAPI(title="ml4ir-losses", docs_url=None, redoc_url=None, openapi_url=None)

    def answering(operation: str) -> Any:
        async def answer(request: Request) -> Response:
            body = await request.body()
            with current.use() as service:
                if len(body) < _LARGE:
                    pending = service.start(operation, body)
                else:
                    pending = await asyncio.to_thread(service.start, operation, body)
                results = await _results(request, pending, limits.seconds)
                return Response(status_code=_CLOSED) if results is None else json_response(pending.finish(results))

        return answer

    for operation in OPERATIONS:
        app.add_api_route(f"/v1/{operation}", answering(operation), methods=["POST"], include_in_schema=False)

    @app.get("/v1/model", include_in_schema=False)
    async def model() -> Response:
        with current.use() as service:
            return json_response(service.describe())

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        with current.use() as service:
            return json_response(describe_api(service))

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
        TooLate: if it takes too long; what waits is not computed.
    """
    results: asyncio.Future[list[Any]] = asyncio.gather(*map(asyncio.wrap_future, pending.parts))
    gone: asyncio.Future[Any] = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({results, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if results.done():
            return results.result()
    finally:
        gone.cancel()
        for part in pending.parts:
            part.cancel()  # does nothing to those that are done
    if gone.done():
        return None
    raise TooLate(f"there is no answer within {seconds:g} seconds.")


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

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return error_response(str(error.errors()[0]["msg"]), 422)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        LOGGER.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return error_response("the server failed; its log says why.", 500)
