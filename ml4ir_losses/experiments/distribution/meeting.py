"""Waits until all processes of a training have started, for engines that end the program where one is missing."""

from __future__ import annotations

import socket
import time

from ml4ir_losses.core.errors import ConfigError

_PAUSE = 0.2  # seconds between two tries


def meet(address: tuple[str, int], rank: int, count: int, seconds: float) -> None:
    """Returns when all processes have called it; process 0 listens at the address.

    Raises:
        ConfigError: when they have not in so many seconds, with the numbers of those that are missing.
    """
    end = time.monotonic() + seconds
    missing = _receive(address, count, end) if rank == 0 else _report(address, rank, end)
    if missing:
        host, port = address
        raise ConfigError(
            f"training.distribution: process {rank} of {count} met no process {', '.join(map(str, missing))} at "
            f"{host}:{port} within {seconds:g} s (training.distribution.timeout)."
        )


def _receive(address: tuple[str, int], count: int, end: float) -> list[int]:
    """In process 0: the numbers of the processes that did not come."""
    missing, connections = set(range(1, count)), []
    try:
        server = socket.create_server(address)
    except OSError as error:
        host, port = address
        raise ConfigError(
            f"training.distribution: process 0 cannot listen at {host}:{port} ({error.strerror or error})."
        ) from None
    with server:
        while missing and time.monotonic() < end:
            server.settimeout(max(end - time.monotonic(), 0.01))
            try:
                connection, _ = server.accept()
                connection.settimeout(1.0)
                missing.discard(int(connection.recv(16) or b"0"))
                connections.append(connection)
            except (OSError, ValueError):  # nobody, or somebody else
                continue
    for connection in connections:
        if not missing:
            connection.sendall(b"all")
        connection.close()
    return sorted(missing)


def _report(address: tuple[str, int], rank: int, end: float) -> list[int]:
    """In the other ones: [0] if process 0 did not answer that all have come."""
    while time.monotonic() < end:
        try:
            with socket.create_connection(address, timeout=max(end - time.monotonic(), 0.01)) as connection:
                connection.sendall(str(rank).encode())
                if connection.recv(16) == b"all":
                    return []
        except OSError:
            pass
        time.sleep(_PAUSE)
    return [0]
