"""A service without a model, its routes, and a server of it in a thread."""

import asyncio
import http.client
import io
import json
import os
import socket
import threading
import time
from dataclasses import dataclass, field
from types import SimpleNamespace

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.serving.errors import Overloaded
from ml4ir_losses.serving.logs import json_logs
from ml4ir_losses.serving.process import Server
from ml4ir_losses.serving.run_server import listen
from ml4ir_losses.serving.settings import Limits, Stopping


@dataclass
class FakeService:
    """Answers with its version."""

    version: str
    kind: str = "ranking"
    columns: dict = field(default_factory=lambda: {"price": "number"})
    finite: bool = True
    is_closed: bool = False
    batcher: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(waiting=0))

    def warm_up(self):
        if not self.finite:
            raise UserError("the model gives no finite scores.")

    def close(self):
        if self.is_closed:
            raise RuntimeError("closed twice")
        self.is_closed = True


def load_fake(folder):
    """The service whose attributes `model.keras` holds as JSON."""
    return FakeService(**json.loads((folder / "model.keras").read_text()))


def write_fake(folder, version, **others):
    """Writes a run folder for `load_fake`."""
    folder.mkdir(exist_ok=True)
    part = folder / "model.part"
    part.write_text(json.dumps({"version": version, **others}))
    os.replace(part, folder / "model.keras")
    return folder


def make_fake_app(current, limits):
    """Routes that answer, wait, fail and echo."""
    app = FastAPI(openapi_url=None)

    @app.post("/v1/rank")
    async def rank(request: Request):
        with current.use() as service:
            body = await request.body()
            await asyncio.sleep(float(request.query_params.get("seconds", 0)))
            if service.is_closed:
                raise RuntimeError("answered by a closed service")
            return {"version": service.version, "bytes": len(body)}

    @app.exception_handler(Overloaded)
    async def overloaded(request: Request, error: Overloaded):
        return JSONResponse({"error": str(error)}, error.status, {"retry-after": "1"})

    @app.get("/fails")
    async def fails():
        raise RuntimeError("secret of the house")

    return app


class Running:
    """A server in a thread, of a run folder that `write_fake` wrote.

    Args:
        run: the run folder.
        options: the limits, and what else `Server` takes.
    """

    def __init__(self, run, *, stopping=None, load=load_fake, make_app=make_fake_app, watch=None, key=None, **limits):
        self.log = io.StringIO()
        listening = listen("127.0.0.1", 0)
        self.port = listening.getsockname()[1]
        limits, stopping = Limits(**limits), stopping or Stopping(grace=5)
        self.server = Server(listening, run, load, make_app, limits=limits, stopping=stopping, watch=watch, key=key)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.failure = None

    def _run(self):
        try:
            with json_logs(self.log):
                self.server.answer_requests()
        except Exception as error:
            self.failure = error

    def __enter__(self):
        self.thread.start()
        wait_until(lambda: self.server.started and (self.server.current.ready or self.failure))
        return self

    def __exit__(self, *error):
        self.server.stop()
        self.thread.join(60)
        assert not self.thread.is_alive()

    @property
    def lines(self):
        return [json.loads(line) for line in self.log.getvalue().splitlines()]

    def requests(self):
        """The log lines of requests."""
        return [line for line in self.lines if line["message"] == "request"]

    def send(self, data, *, wait=5.0, half_close=False):
        """What the server answers to raw bytes, until it closes the connection or is silent."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=wait) as connection:
            try:
                connection.sendall(data)
                if half_close:
                    connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            return read_all(connection)


def wait_until(condition, seconds=60.0):
    """Waits until a condition holds; fails if it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def read_all(connection):
    """All bytes until the connection is closed, or silent for its timeout."""
    parts = []
    try:
        while part := connection.recv(1 << 16):
            parts.append(part)
    except OSError:
        pass
    return b"".join(parts)


def read_one(connection):
    """The next answer on a connection that stays open."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    body = answer.read()
    return f"HTTP/1.1 {answer.status} {answer.reason}\r\n\r\n".encode() + body


def request(method="POST", path="/v1/rank", body=b"{}", close=True, length=True, **headers):
    """A request as bytes."""
    lines = [f"{method} {path} HTTP/1.1", "Host: test"]
    lines += [f"Content-Length: {len(body)}"] * length + ["Connection: close"] * close
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def status_of(answer):
    """The status of an answer; None for none."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else None


def json_of(answer):
    """The JSON body of an answer."""
    return json.loads(answer.partition(b"\r\n\r\n")[2])
