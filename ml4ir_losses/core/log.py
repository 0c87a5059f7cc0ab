"""The logger of the package; the command line and run folders decide where its lines go."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

LOGGER = logging.getLogger("ml4ir_losses")


class TerminalHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Log lines on stderr; tracebacks stay in the log file."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(message)s"))

    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(record, "file_only", False)


@contextmanager
def hidden_log() -> Iterator[None]:
    """Hides the log lines of single trainings, and TensorFlow's about each model that it traces anew."""
    levels = {logger: logger.level for logger in (LOGGER, logging.getLogger("tensorflow"))}
    for logger in levels:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


@contextmanager
def shown_log() -> Iterator[None]:
    """Shows log lines on stderr within the block, unless the program has log handlers of its own."""
    if LOGGER.hasHandlers():
        yield
        return
    handler, level = TerminalHandler(), LOGGER.level
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    try:
        yield
    finally:
        LOGGER.setLevel(level)
        LOGGER.removeHandler(handler)


def progress_bar() -> Any:
    """A `rich.progress.Progress` on stderr; None if stderr is no terminal."""
    if not sys.stderr.isatty():
        return None
    from rich.console import Console
    from rich.progress import Progress

    return Progress(console=Console(stderr=True), transient=True)
