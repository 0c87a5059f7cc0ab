"""Loads a server as its users and its enemies do, and says what it did.

    python tests/serving/load.py RUN_A RUN_B --requests 100000 --reloads 20

`ml4ir-losses serve` runs in a process of its own, on a link to one of two runs that read the same columns. Clients on
kept connections send valid and wrong requests without pause. What is asked of the server:

* memory after 10,000 requests is that at the end;
* the runs take turns, by SIGHUP: no request is lost, and memory stays;
* a model that is half-written, by a writer that was killed, or broken keeps the old one;
* at SIGTERM every request that the server has is answered, and the process ends with 0.
"""

from __future__ import annotations

import argparse
import atexit
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]


class ServerProcess:
    """`ml4ir-losses serve` in a process.

    Args:
        run: the run folder.
        options: options of the command.
    """

    def __init__(self, run, *options):
        self.log = tempfile.NamedTemporaryFile("w+", suffix=".log")  # noqa: SIM115
        command = [sys.executable, "-m", "ml4ir_losses.cli", "serve", str(run), "--port", "0", *options]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(command, stderr=self.log, env=environment)
        atexit.register(self.process.kill)
        self.memory = psutil.Process(self.process.pid)
        self.wait(lambda: self.lines("ready"), 120)
        self.port = int(self.lines()[0]["url"].rpartition(":")[2])

    def lines(self, *messages):
        """What it logged, of some messages or all but the requests."""
        text = Path(self.log.name).read_text(encoding="utf-8")
        lines = [
            line
            for line in text.splitlines(keepends=True)
            if line.endswith("}\n") and '"message": "request"' not in line
        ]
        return [line for line in map(json.loads, lines) if not messages or line["message"] in messages]

    def wait(self, condition, seconds=30.0):
        """Waits until a condition holds."""
        end = time.monotonic() + seconds
        while not condition():
            if self.process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"the server: {Path(self.log.name).read_text()[-3000:]}")
            time.sleep(0.02)

    def megabytes(self):
        """Its resident memory."""
        return self.memory.memory_info().rss / 2**20

    def example(self):
        """A query of the request to rank that its OpenAPI page shows."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", "/openapi.json")
        page = json.loads(connection.getresponse().read())
        connection.close()
        body = page["paths"]["/v1/rank"]["post"]["requestBody"]["content"]["application/json"]
        return body["example"]["queries"][0]

    def stop(self):
        """Ends it by SIGTERM; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def bodies(example, count=200, seed=0):
    """Bodies of requests: nine of ten are valid, of 1 to 100 documents."""
    rng = random.Random(seed)
    made = []
    for _ in range(count):
        documents = [dict(rng.choice(example["documents"])) for _ in range(rng.choice((1, 5, 20, 100)))]
        for document in documents:
            document.pop("id", None)
        request = {**example, "documents": documents}
        if rng.random() < 0.1:
            documents[0]["no such column"] = 1
        made.append(json.dumps(request).encode())
    return made


class Clients:
    """Threads that send requests on kept connections until they are told to stop.

    Attributes:
        statuses: the number of answers by status; -1: none.
        seconds: the time of each answer.
    """

    def __init__(self, port, bodies, threads=4):
        self.port, self.bodies = port, bodies
        self.statuses, self.seconds = Counter(), []
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(threads)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error):
        self.ended.set()
        for thread in self.threads:
            thread.join()

    @property
    def answered(self):
        return len(self.seconds)

    def _ask(self, number):
        connection, turn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60), number
        while not self.ended.is_set():
            turn += 1
            start = time.perf_counter()
            try:
                connection.request("POST", "/v1/rank", self.bodies[turn % len(self.bodies)])
                answer = connection.getresponse()
                answer.read()
                self.statuses[answer.status] += 1
            except (OSError, http.client.HTTPException):
                connection.close()
                self.statuses[-1] += 1
            self.seconds.append(time.perf_counter() - start)


def times(seconds):
    """`p50 2.1 ms, p99 9.3 ms`."""
    ordered = sorted(seconds) or [0.0]
    return ", ".join(f"p{p} {1e3 * ordered[min(len(ordered) * p // 100, len(ordered) - 1)]:.1f} ms" for p in (50, 99))


def flat(server, sent, requests):
    """Memory after each tenth of the requests."""
    found = []
    with Clients(server.port, sent) as clients:
        for tenth in range(1, 11):
            server.wait(lambda tenth=tenth: clients.answered >= tenth * requests // 10, 3_600)
            found.append(server.megabytes())
            print(f"{clients.answered:>8,} requests: {found[-1]:.1f} MB", flush=True)
    print(f"statuses {dict(clients.statuses)}; {times(clients.seconds)}")
    return found, clients


def put(link, run):
    """Lets the link lead to another run, at once."""
    new = link.with_name("new")
    new.symlink_to(run)
    new.replace(link)


def reloads(server, sent, link, runs, count):
    """Memory after each reload, with clients that send meanwhile."""
    found = []
    with Clients(server.port, sent) as clients:
        for n in range(1, count + 1):
            put(link, runs[n % 2])
            server.process.send_signal(signal.SIGHUP)
            server.wait(lambda n=n: len(server.lines("the run was reloaded", "the run was not reloaded")) == n, 300)
            time.sleep(0.3)
            found.append(server.megabytes())
            if n in (1, 2, 5) or n % 10 == 0:
                print(f"{n:>8,} reloads: {found[-1]:.1f} MB", flush=True)
    print(f"statuses {dict(clients.statuses)}; {times(clients.seconds)}")
    return found, clients


WRITER = """
import sys, time
source, target = sys.argv[1:]
with open(source, "rb") as old, open(target, "wb") as new:
    while part := old.read(1 << 12):
        new.write(part)
        new.flush()
        time.sleep(0.01)
"""


def killed_writers(runs, folder, sent, kills, seed=0):
    """Writers of a new model into the run folder are killed halfway; a server that watches it keeps the old one."""
    rng, server, model = random.Random(seed), ServerProcess(folder, "--watch", "0.1"), folder / "model.keras"

    def failures():
        return server.lines("the run was not reloaded")

    with Clients(server.port, sent) as clients:
        for _ in range(kills):
            before, size = len(failures()), model.stat().st_size
            writer = subprocess.Popen([sys.executable, "-c", WRITER, runs[1] / "model.keras", model])
            server.wait(lambda size=size: model.stat().st_size != size)
            time.sleep(rng.uniform(0.0, 0.1))
            writer.kill()
            writer.wait()
            server.wait(lambda before=before: len(failures()) > before)
        print(f"{kills:>8,} writers killed: {len(failures())} reloads failed, such as: {failures()[-1]['reason']}")
        if server.lines("the run was reloaded"):
            raise SystemExit("a half-written model was taken")
        for name in ("config.yaml", "model.keras", "files.json"):
            shutil.copy(runs[1] / name, folder / name)
        server.wait(lambda: server.lines("the run was reloaded"))
    print(f"statuses {dict(clients.statuses)}; {times(clients.seconds)}")
    server.stop()
    return clients


def stopped(server, body, connections=32):
    """The statuses of requests that the server has when SIGTERM comes, and its exit code."""
    head = f"POST /v1/rank HTTP/1.1\r\nHost: test\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    opened = [socket.create_connection(("127.0.0.1", server.port), timeout=60) for _ in range(connections)]
    for connection in opened:
        connection.sendall(head + body)
    code = server.stop()
    statuses = Counter()
    for connection in opened:
        with connection:
            answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))  # noqa: B023
            statuses[int(answer.split()[1]) if answer else -1] += 1
    print(f"{connections:>8,} requests at SIGTERM: statuses {dict(statuses)}, exit code {code}")
    return statuses, code


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", nargs=2, type=Path, help="Run folders that read the same columns.")
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--reloads", type=int, default=20)
    parser.add_argument("--kills", type=int, default=10)
    arguments = parser.parse_args()
    runs = [run.resolve() for run in arguments.runs]
    with tempfile.TemporaryDirectory() as scratch:
        link, folder = Path(scratch) / "live", Path(scratch) / "run"
        put(link, runs[0])
        shutil.copytree(runs[0], folder)
        server = ServerProcess(link)
        sent = bodies(server.example())
        memory, first = flat(server, sent, arguments.requests)
        _, second = reloads(server, sent, link, runs, arguments.reloads)
        statuses, code = stopped(server, sent[0])
        third = killed_writers(runs, folder, sent, arguments.kills)
    answered = first.statuses + second.statuses + third.statuses
    wrong = sum(count for status, count in answered.items() if status not in (200, 422))
    if wrong or set(statuses) != {200} or code or memory[-1] > 1.02 * memory[0]:
        raise SystemExit(f"failed: {wrong} requests were lost; memory grew from {memory[0]:.1f} to {memory[-1]:.1f} MB")


if __name__ == "__main__":
    main()
