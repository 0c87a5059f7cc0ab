"""The routes by which a server is watched, and the guard before all routes."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from starlette.routing import Route

from ml4ir_losses.serving.current import Current
from ml4ir_losses.serving.guard import Guard
from ml4ir_losses.serving.metrics import Metrics
from ml4ir_losses.serving.settings import Limits


def harden(app: FastAPI, current: Current[Any], limits: Limits, metrics: Metrics, key: str | None = None) -> FastAPI:
    """Adds `/healthz`, `/readyz`, `/metrics` and the guard to a FastAPI app that has its other routes; returns it."""

    @app.get("/healthz", tags=["operation"])
    async def healthz() -> dict[str, str]:
        """The process lives."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["operation"], responses={503: {"description": "It is loading, or about to stop."}})
    async def readyz() -> JSONResponse:
        """A model is loaded and was warmed up."""
        status = {"status": "ready" if current.ready else "not ready", "version": current.version}
        return JSONResponse(status, 200 if current.ready else 503)

    @app.get("/metrics", tags=["operation"], response_class=Response)
    async def metrics_page() -> Response:
        """The metrics, in the text format of Prometheus."""
        return Response(metrics.text(), media_type=metrics.content_type)

    paths = {route.path for route in app.routes if isinstance(route, Route)}
    app.add_middleware(Guard, current=current, limits=limits, metrics=metrics, paths=paths, key=key)
    return app
