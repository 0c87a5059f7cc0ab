"""What processes that train together read from their environment, and what engines say when it is wrong."""

from __future__ import annotations

import os

from ml4ir_losses.core.errors import ConfigError

IN_RAY = "ML4IR_LOSSES_IN_RAY"
"""The environment variable that is set in the processes that Ray starts."""


def whole_number(name: str) -> int:
    """The whole number in an environment variable.

    Raises:
        ConfigError: for anything else, or none.
    """
    value = os.environ.get(name)
    if value is None or not value.isdecimal():
        received = "nothing" if value is None else repr(value)
        raise ConfigError(f"{name} in the environment must be a whole number of at least 0. Received: {received}.")
    return int(value)


def is_address(text: str) -> bool:
    """True for `host:port`."""
    host, _, port = text.rpartition(":")
    return bool(host) and port.isdecimal() and 0 < int(port) < 2**16


def place_of(address: str) -> tuple[str, int]:
    """The host, without the brackets of IPv6, and the port of an address."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def first_line(error: BaseException) -> str:
    """The first line of an engine's message, or the name of the error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].removesuffix(".")[:200] if lines else type(error).__name__
