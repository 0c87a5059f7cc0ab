"""The logger of the package; the command line and run folders decide where its lines go."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

LOGGER = logging.getLogger("ml4ir_losses")
Item = TypeVar("Item")


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


def with_progress(items: Iterable[Item], text: str, share: Callable[[], float | None]) -> Iterator[Item]:
    """The items, with a progress bar on a terminal where log lines are shown; `share` tells how much is done."""
    bar = progress_bar() if LOGGER.isEnabledFor(logging.INFO) else None
    if bar is None:
        yield from items
        return
    with bar:
        task = bar.add_task(text, total=None)
        for item in items:
            done = share()
            bar.update(task, total=None if done is None else 1.0, completed=done or 0.0)
            yield item
