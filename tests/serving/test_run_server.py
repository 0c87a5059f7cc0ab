"""The process of a server: its address, its key, and what it does at signals."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_service import json_of, read_all, request, status_of, wait_until, write_fake

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.serving.run_server import KEY_VARIABLE, api_key, check_exposure, listen

HERE = Path(__file__).parent
KEY = "a-key-of-the-tests"


def test_port_in_use_is_one_line():
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"^--port: {port} is in use on 127.0.0.1; give another one, or 0 for any"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1", "::ffff:1:2:3:4:5"])
def test_host_of_another_machine_is_one_line(host):
    with pytest.raises(UserError, match=r"^--host"):
        listen(host, 0)


def test_key_is_that_of_the_file_else_of_the_variable(tmp_path, monkeypatch):
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    assert api_key(None) is None
    monkeypatch.setenv(KEY_VARIABLE, f"{KEY}-2")
    assert api_key(None) == f"{KEY}-2"
    assert api_key(file) == KEY


@pytest.mark.parametrize("text", ["", "short", "a" * 20 + " b", "é" * 20, "a" * 20 + "\nb", "\0" * 20])
def test_weak_or_damaged_key_is_refused(tmp_path, text):
    file = tmp_path / "key"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="an API key is one line of at least 16 printable ASCII characters"):
        api_key(file)


def test_missing_key_file_is_one_line(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        api_key(tmp_path / "none")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_key(host):
    check_exposure(host, None)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.1", "example.org"])
def test_other_addresses_need_a_key(host):
    with pytest.raises(UserError, match="other machines reach the server"):
        check_exposure(host, None)
    check_exposure(host, KEY)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--host", "0.0.0.0"], "other machines reach the server"),
        (["--port", "80000"], "--port"),
        ([], "is not a run folder"),
    ],
)
def test_wrong_use_is_one_line(run, tmp_path, monkeypatch, options, message):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    code, _, err = run("serve", tmp_path, *options)
    assert code == 2
    assert message in err
    assert "Traceback" not in err


class Job:
    """`signals_job.py` in a process."""

    def __init__(self, folder, drain=0.0):
        self.log = folder / "log"
        paths = os.pathsep.join((str(HERE), str(HERE.parents[1])))
        with self.log.open("w") as stderr:
            command = [sys.executable, HERE / "signals_job.py", folder / "run", str(drain)]
            self.process = subprocess.Popen(command, stderr=stderr, env={**os.environ, "PYTHONPATH": paths})
        wait_until(lambda: "ready" in self.messages() or self.process.poll() is not None)
        self.port = int(self.lines()[0]["url"].rpartition(":")[2])

    def lines(self):
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.endswith("}")]

    def messages(self):
        return [line["message"] for line in self.lines()]

    def open(self, data):
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        connection.sendall(data)
        return connection

    def ask(self, data):
        with self.open(data) as connection:
            return read_all(connection)


@pytest.fixture
def job(tmp_path, request):
    write_fake(tmp_path / "run", "v1")
    job = Job(tmp_path, getattr(request, "param", 0.0))
    yield job
    job.process.kill()
    job.process.wait()


def test_signals_reload_and_stop(job, tmp_path):
    write_fake(tmp_path / "run", "v2")
    job.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "the run was reloaded" in job.messages())
    assert json_of(job.ask(request()))["version"] == "v2"

    slow = [job.open(request(path="/v1/rank?seconds=0.7", close=n % 2)) for n in range(10)]
    idle = job.open(b"")
    wait_until(lambda: b"requests_in_flight 11.0" in job.ask(request(method="GET", path="/metrics", body=b"")))
    job.process.send_signal(signal.SIGTERM)
    wait_until(lambda: "stopping" in job.messages())
    idle.sendall(request())  # it was on its way
    assert {status_of(read_all(connection)) for connection in [*slow, idle]} == {200}
    assert job.process.wait(20) == 0
    assert job.messages()[-1] == "stopped"
    with pytest.raises(ConnectionRefusedError):
        job.open(b"")


@pytest.mark.parametrize("job", [1.5], indirect=True)
def test_draining_server_is_not_ready_and_answers(job):
    job.process.send_signal(signal.SIGINT)
    wait_until(lambda: "stopping" in job.messages())
    assert status_of(job.ask(request(method="GET", path="/readyz", body=b""))) == 503
    assert status_of(job.ask(request())) == 200
    start = time.monotonic()
    job.process.send_signal(signal.SIGINT)  # again: it does not wait
    assert job.process.wait(20) == 0
    assert time.monotonic() < start + 1.4


def test_answer_that_takes_longer_than_the_grace_is_cut(job):
    connection = job.open(request(path="/v1/rank?seconds=60"))
    wait_until(lambda: b"requests_in_flight 2.0" in job.ask(request(method="GET", path="/metrics", body=b"")))
    job.process.send_signal(signal.SIGTERM)
    assert job.process.wait(20) == 0
    assert status_of(read_all(connection)) in (500, None)
