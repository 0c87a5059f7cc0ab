"""Errors that tell the user what to change."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

LONGEST = 4000  # characters of a message


class UserError(ValueError):
    """Something in the call, the config or the data that the user can change; the message is one line."""

    def __init__(self, message: str) -> None:
        line = " ".join(line.strip() for line in message.splitlines())
        super().__init__(line if len(line) <= LONGEST else f"{line[:LONGEST]}...")  # it may quote a value of any length


class ConfigError(UserError):
    """A config that cannot be used: the message names the path of each wrong key."""


class DataError(UserError):
    """Data that cannot be used: the message names file, line and column where they are known."""


class NotWritten(DataError):
    """A file that cannot be written: the disk is full, or the permission is missing."""


class RunError(RuntimeError):
    """A run that started and cannot go on."""


class LostProcess(RuntimeError):
    """Another process of the same training ended or does not answer; a new start may succeed."""


class DivergedError(RunError):
    """A training whose loss is no longer a number."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`" Did you mean 'list_mle'?"`, or "" if no known name is similar.

    A small misspelling comes first, then a name that contains the given words or has the given initials ("softmax" or
    "sce" for "softmax_cross_entropy"), then the nearest name.
    """
    by_lower = {candidate.lower(): candidate for candidate in known}
    given = str(name).lower()
    longer = sorted((c for c in by_lower if _abbreviates(given, c)), key=lambda c: (not c.startswith(given), len(c)))
    near = difflib.get_close_matches(given, by_lower, n=1, cutoff=0.8) or longer
    near = near or difflib.get_close_matches(given, by_lower, n=1, cutoff=0.5)
    return f" Did you mean {by_lower[near[0]]!r}?" if near else ""


def _abbreviates(given: str, name: str) -> bool:
    """True for some of the words of a name, or for its initials."""
    initials = "".join(word[:1] for word in name.split("_"))
    return bool(given) and (f"_{given}_" in f"_{name}_" or (len(initials) > 1 and given == initials))


def unknown_name(kind: str, name: object, known: Sequence[str]) -> str:
    """The message that `name` is not a known `kind`, with the nearest match and the allowed names."""
    hint = did_you_mean(name, known) if isinstance(name, str) else ""
    return f"Unknown {kind} {name!r}.{hint} Allowed: {', '.join(known) or 'none'}."


def check_positive(**arguments: float) -> None:
    """Raises `UserError` unless every argument is a number above 0."""
    for name, value in arguments.items():
        if not _is_number(value) or not value > 0:
            raise UserError(f"`{name}` must be a number above 0. Received: {name}={value!r}.")


def check_not_negative(**arguments: float) -> None:
    """Raises `UserError` unless every argument is a number of at least 0."""
    for name, value in arguments.items():
        if not _is_number(value) or not value >= 0:
            raise UserError(f"`{name}` must be a number of at least 0. Received: {name}={value!r}.")


def check_count(**arguments: int | None) -> None:
    """Raises `UserError` unless every argument is None or a whole number of at least 1."""
    for name, value in arguments.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise UserError(f"`{name}` must be None or a whole number of at least 1. Received: {name}={value!r}.")


def check_whole(minimum: int, **arguments: int) -> None:
    """Raises `UserError` unless every argument is a whole number of at least `minimum`."""
    for name, value in arguments.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            raise UserError(f"`{name}` must be a whole number of at least {minimum}. Received: {name}={value!r}.")


def check_fraction(**arguments: float) -> None:
    """Raises `UserError` unless every argument is a number from 0 to 1."""
    for name, value in arguments.items():
        if not _is_number(value) or not 0 <= value <= 1:
            raise UserError(f"`{name}` must be a number from 0 to 1. Received: {name}={value!r}.")


def check_number(**arguments: float) -> None:
    """Raises `UserError` unless every argument is a number."""
    for name, value in arguments.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
            raise UserError(f"`{name}` must be a number. Received: {name}={value!r}.")


def check_choice(allowed: Sequence[str], **arguments: str) -> None:
    """Raises `UserError` unless every argument is one of the allowed strings."""
    for name, value in arguments.items():
        if not isinstance(value, str) or value not in allowed:
            hint = did_you_mean(value, allowed) if isinstance(value, str) else ""
            raise UserError(f"`{name}` must be one of {', '.join(allowed)}. Received: {name}={value!r}.{hint}")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value not in (float("inf"),)
