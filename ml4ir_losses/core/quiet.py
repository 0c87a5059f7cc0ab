"""Silence for native code that prints whatever it likes."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Inside, nothing of this process is printed, logged or warned of; errors are raised as ever."""
    sys.stdout.flush()
    sys.stderr.flush()
    disabled, handlers = logging.root.manager.disable, logging.root.handlers[:]
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            silent_descriptors(1, 2),
        ):
            yield
    finally:
        logging.disable(disabled)
        logging.root.handlers[:] = handlers  # `logging.warning` adds one that writes to what is stderr in here


@contextlib.contextmanager
def silent_descriptors(*descriptors: int) -> Iterator[None]:
    """Inside, what is written to file descriptors, also by C++ code, is dropped."""
    kept = {descriptor: os.dup(descriptor) for descriptor in descriptors}
    silence = os.open(os.devnull, os.O_WRONLY)
    for descriptor in descriptors:
        os.dup2(silence, descriptor)
    try:
        yield
    finally:
        for descriptor, copy in kept.items():
            os.dup2(copy, descriptor)
            os.close(copy)
        os.close(silence)
