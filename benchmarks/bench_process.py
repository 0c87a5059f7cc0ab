"""Processes of `bench_worker.py` as `bench.py` sees them, with limits of time and memory."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO, Any, NoReturn, cast

from bench_cases import OURS

HERE = Path(__file__).parent
BACKENDS = {"ours": "tensorflow", "ours-jax": "jax", "ours-torch": "torch", "krs": "tensorflow"}
TICK = 0.2  # seconds between looks at the memory


class LostError(Exception):
    """The process did not answer; the message says why."""


class Worker:
    """A process that answers one request at a time."""

    def __init__(self, peer: str, python: str, limit_gib: float, arguments: tuple[str, ...] = ()) -> None:
        self.peer, self.limit_gib = peer, limit_gib
        self.log = tempfile.TemporaryFile()  # noqa: SIM115, open as long as the process
        paths = [str(HERE.parent)] if peer in OURS else []
        variables = {
            **os.environ,
            "KERAS_BACKEND": BACKENDS.get(peer, "tensorflow"),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTHONDONTWRITEBYTECODE": "1",
            "CUDA_VISIBLE_DEVICES": "-1",
            "JAX_PLATFORMS": "cpu",
        }
        command = [python, str(HERE / "bench_worker.py"), peer, *arguments]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.log}
        try:
            self.process = subprocess.Popen(command, bufsize=0, env=variables, **pipes)
        except OSError as error:
            raise LostError(f"{python}: {error.strerror}") from error
        self.requests, self.answers = cast(IO[bytes], self.process.stdin), cast(IO[bytes], self.process.stdout)

    def ask(self, timeout: float, **request: Any) -> dict[str, Any]:
        """The answer; `{"error": ...}` if the library raised one."""
        try:
            self.requests.write(json.dumps(request).encode() + b"\n")
        except BrokenPipeError:
            self._lose(self._end())
        return self.wait(timeout)

    def wait(self, timeout: float) -> dict[str, Any]:
        deadline = time.monotonic() + timeout
        while not select.select([self.answers], [], [], TICK)[0]:
            if self._resident_gib() > self.limit_gib:
                self._lose(f"more than {self.limit_gib:.0f} GiB")
            if time.monotonic() > deadline:
                self._lose(f"more than {timeout:.0f} s")
        line = self.answers.readline()
        if not line:
            self._lose(self._end())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def _lose(self, why: str) -> NoReturn:
        self.stop()
        raise LostError(why)

    def _end(self) -> str:
        code = self.process.wait()
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").strip().splitlines()
        return f"the process ended with {code}: {lines[-1] if lines else ''}"[:200]

    def _resident_gib(self) -> float:
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:  # it ended, or the system has no /proc
            return 0.0
        found = re.search(r"VmRSS:\s+(\d+)", status)
        return int(found[1]) / 1024**2 if found else 0.0
