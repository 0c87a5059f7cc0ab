"""Ctrl-C and SIGTERM: noticed when they come, acted on where nothing is lost."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_ONE_PRESS = 0.5  # seconds in which several SIGINT are one Ctrl-C: wrappers forward what the terminal sent to all
_CTRL_C, _TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM


class Terminated(SystemExit, KeyboardInterrupt):
    """SIGTERM. What catches Ctrl-C catches it too; a program that does not ends with exit code 143, as if killed."""

    def __init__(self) -> None:
        super().__init__(_TERMINATED)


class _Signals:
    """What came, and whether it waits."""

    def __init__(self) -> None:
        self.handled = False
        self.reset()

    def reset(self) -> None:
        self.delays = 0
        self.came: float | None = None  # when the signal came that waits
        self.terminated = False

    def interrupt(self) -> None:
        """Raises what the signal means, or lets it wait; Ctrl-C again does not wait."""
        now = time.monotonic()
        if self.delays and (self.came is None or self.terminated or now - self.came < _ONE_PRESS):
            self.came = now if self.came is None else self.came
            return
        self.came = None
        raise Terminated if self.terminated else KeyboardInterrupt


_SIGNALS = _Signals()


def _on_ctrl_c(number: int, frame: Any) -> None:
    if _SIGNALS.terminated and _SIGNALS.came is not None:  # Ctrl-C after SIGTERM
        _SIGNALS.came = None
        raise Terminated
    _SIGNALS.interrupt()


def _on_terminate(number: int, frame: Any) -> None:
    if _SIGNALS.terminated:  # `timeout` and others send it twice
        return
    _SIGNALS.terminated = True
    handler = signal.getsignal(signal.SIGINT)
    if callable(handler) and handler is not _on_ctrl_c:
        handler(signal.SIGINT, frame)  # a block that notes Ctrl-C notes this, too
    else:
        _SIGNALS.interrupt()


@contextmanager
def signals_handled() -> Iterator[None]:
    """Within the block SIGTERM raises `Terminated`, and both it and Ctrl-C can be delayed.

    Nothing changes where another block does it already, outside the main thread, and for a signal that the program
    handles in its own way or ignores.
    """
    if _SIGNALS.handled or threading.current_thread() is not threading.main_thread():
        yield
        return
    usual: list[tuple[int, Any, Callable[[int, Any], None]]] = [
        (signal.SIGINT, signal.default_int_handler, _on_ctrl_c),
        (signal.SIGTERM, signal.SIG_DFL, _on_terminate),
    ]
    ours = [(number, before, handler) for number, before, handler in usual if signal.getsignal(number) is before]
    _SIGNALS.reset()
    _SIGNALS.handled = True
    try:
        for number, _, handler in ours:
            signal.signal(number, handler)
        yield
    finally:
        for number, before, _ in ours:
            signal.signal(number, before)
        _SIGNALS.handled = False


def delay_signals() -> None:
    """From here to `allow_signals` Ctrl-C and SIGTERM wait; a second Ctrl-C does not. Calls may be nested."""
    _SIGNALS.delays += 1


def allow_signals(raising: bool = True) -> None:
    """Ends `delay_signals` and raises what came meanwhile; or forgets it, where an error is raised anyway."""
    _SIGNALS.delays -= 1
    if _SIGNALS.delays:
        return
    if raising and signal_waits():
        stop(_SIGNALS.terminated)
    _SIGNALS.came = None


def stop(terminated: bool) -> None:
    """Raises what Ctrl-C or SIGTERM raise."""
    _SIGNALS.came = None
    _SIGNALS.terminated |= terminated
    raise Terminated if terminated else KeyboardInterrupt


def signal_waits() -> bool:
    """True if Ctrl-C or SIGTERM came and waits: what shall be kept is saved now."""
    return _SIGNALS.came is not None


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Delays Ctrl-C and SIGTERM until the block is done."""
    delay_signals()
    try:
        yield
    except BaseException:
        allow_signals(raising=False)
        raise
    allow_signals()


def exit_code() -> int:
    """The exit code of a program that was interrupted: 143 after SIGTERM, else 130."""
    return _TERMINATED if _SIGNALS.terminated else _CTRL_C


def is_terminated() -> bool:
    """True after SIGTERM."""
    return _SIGNALS.terminated


def signal_name() -> str:
    """`SIGTERM`, or `Ctrl-C`."""
    return "SIGTERM" if _SIGNALS.terminated else "Ctrl-C"
