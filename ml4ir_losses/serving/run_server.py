"""The process of a server: its socket, its signals, and its end."""

from __future__ import annotations

import errno
import gc
import ipaddress
import os
import socket
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.extras import import_extra
from ml4ir_losses.core.lazy import import_quietly
from ml4ir_losses.experiments.run_status import check_run
from ml4ir_losses.serving.logs import json_logs
from ml4ir_losses.serving.settings import Batching, Limits, Stopping

KEY_VARIABLE = "ML4IR_LOSSES_API_KEY"
_SHORTEST_KEY = 16
_BACKLOG = 2048  # connections that wait to be accepted


def api_key(file: Path | None) -> str | None:
    """The API key of a file, else of the environment variable `ML4IR_LOSSES_API_KEY`; None without one.

    Raises:
        UserError: for a short key, or one that is not printable ASCII, and a file that cannot be read.
    """
    if file is None and not os.environ.get(KEY_VARIABLE):
        return None
    try:
        key = os.environ[KEY_VARIABLE] if file is None else file.read_text(encoding="ascii")
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror or error}).") from None
    except UnicodeDecodeError:
        key = ""
    key = key.strip()
    if len(key) < _SHORTEST_KEY or " " in key or not (key.isascii() and key.isprintable()):
        raise UserError(
            f"{file or KEY_VARIABLE}: an API key is one line of at least {_SHORTEST_KEY} printable ASCII characters, "
            'such as this prints: python -c "import secrets; print(secrets.token_urlsafe())"'
        )
    return key


def check_exposure(host: str, key: str | None) -> None:
    """Raises `UserError` for an address that other machines reach, without an API key."""
    try:
        is_loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback and key is None:
        raise UserError(
            f"--host {host}: other machines reach the server; set {KEY_VARIABLE} or give --api-key-file, or --no-key "
            "if whoever reaches it may use it."
        )


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on an address.

    Raises:
        UserError: if it is in use, or none of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        # Of its connections, too, which asyncio leaves as they are: a body would wait 40 ms for the ACK of its head.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except socket.gaierror:
        raise UserError(f"--host: {host!r} is not an address of this machine.") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(f"--port: {port} is in use on {host}; give another one, or 0 for any free one.") from None
        raise UserError(
            f"--host {host} --port {port}: cannot be listened on ({os.strerror(error.errno or 0)})."
        ) from None


def serve(
    run: str | Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    limits: Limits | None = None,
    batching: Batching | None = None,
    index: str | Path | None = None,
    columns: Sequence[str] = (),
    identity: str | None = None,
    stopping: Stopping | None = None,
    key: str | None = None,
    watch: float | None = None,
    keep_alive: int = 75,
    log: IO[str] | None = None,
) -> None:
    """Serves a run over HTTP until SIGTERM or Ctrl-C; SIGHUP loads the run again.

    Args:
        run: the run folder, or a link to one.
        host: the address to listen on.
        port: the port; 0: any free one, which the log names.
        limits: what is refused.
        batching: how requests are joined.
        index: the documents that a bi-encoder searches, and how they are read: see `load_service`.
        columns: the text columns of the documents.
        identity: the column of their ids.
        stopping: how long it goes on after a signal to stop.
        key: the API key that requests need; None: none.
        watch: the interval in seconds in which the files of the run are looked at, and loaded again when they changed.
        keep_alive: the seconds that a connection may be idle.
        log: where the log goes; stderr by default.

    Raises:
        UserError: for a run that cannot be served, and an address that cannot be listened on.
    """
    for module in ("uvicorn", "httptools", "fastapi", "prometheus_client"):
        import_extra(module, "serve", "A server")
    check_run(run)
    with listen(host, port) as listening:
        import_quietly("keras")
        from ml4ir_losses.serving.app import make_app
        from ml4ir_losses.serving.process import Server
        from ml4ir_losses.serving.service import load_service

        limits = limits or Limits()
        load = partial(
            load_service,
            limits=limits,
            batching=batching or Batching(),
            index=index,
            columns=columns,
            identity=identity,
        )
        gc.collect()
        gc.freeze()  # what is imported stays: collections need not look at it, and are shorter
        with json_logs(log):
            server = Server(
                listening,
                Path(run),
                load,
                make_app,
                limits=limits,
                stopping=stopping or Stopping(),
                key=key,
                watch=watch,
                keep_alive=keep_alive,
            )
            server.answer_requests()
