"""The log of a server: a JSON object per line."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO, Any

from ml4ir_losses.core.log import LOGGER

REQUESTS = LOGGER.getChild("requests")
"""A line per request."""


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON: `time`, `level`, `message`, the record's `fields`, and the `trace` of an error."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line)


@contextmanager
def json_logs(stream: IO[str] | None = None) -> Iterator[None]:
    """Within the block the package, uvicorn and warnings log JSON lines to a stream; stderr by default."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    loggers = [LOGGER, logging.getLogger("uvicorn"), logging.getLogger("py.warnings"), logging.getLogger("asyncio")]
    before = [(logger, logger.handlers, logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.WARNING)
    LOGGER.setLevel(logging.INFO)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        for logger, handlers, level, propagate in before:
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)
