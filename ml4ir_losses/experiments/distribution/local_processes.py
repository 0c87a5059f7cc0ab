"""Runs a function in several processes of this machine, which train together with torch."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ml4ir_losses.core.errors import ConfigError, LostProcess, RunError
from ml4ir_losses.core.lazy import import_quietly

STORE = "ML4IR_LOSSES_STORE"
"""The environment variable that names the file by which the processes find each other."""
_NOTICE = 10.0  # seconds in which process 0 notices that another one ended, and says why
_END = 10.0  # seconds that a process has to end after SIGTERM
_POLL = 0.1

Process = subprocess.Popen[bytes]


def run_locally(work: Callable[..., Any], arguments: Mapping[str, Any], count: int) -> Any:
    """Calls `work(**arguments)` in so many processes and returns what process 0 returns.

    The processes know each other by the variables of torchrun and a file, and talk on the loopback interface. Process 0
    writes to this process's stderr. Ctrl-C and SIGTERM are passed on to it. All end when one is lost, and when this
    process ends.

    Args:
        work: a function of a module that the processes can import.
        arguments: what it is called with.
        count: the number of processes.

    Raises:
        ConfigError: for arguments that cannot be sent to other processes.
        LostProcess: when a process ended before its work was done.
        KeyboardInterrupt: when process 0 was interrupted and returned nothing.
        Exception: what `work` raises in process 0.
    """
    with tempfile.TemporaryDirectory(prefix="ml4ir_losses-") as directory:
        folder = Path(directory)
        try:
            (folder / "task").write_bytes(pickle.dumps((work, dict(arguments))))
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"training.distribution.workers: the data in memory cannot be sent to other processes ({error}). Give "
                "paths of files."
            ) from None
        with _started(folder, count) as processes:
            stopped, lost = _wait(processes)
        failure: Any = None
        if done := (folder / "answer").exists():
            value, failure = pickle.loads((folder / "answer").read_bytes())
        if done and failure is None:
            return value
        if done and not isinstance(failure, LostProcess):
            raise failure
        if stopped is not None:
            raise stopped
        raise LostProcess(
            f"process {lost} of {count} {_end_of(processes[lost].returncode)}{_last_line(folder, lost)}. The same "
            "command with --resume goes on from the last checkpoint."
        )


@contextmanager
def _started(folder: Path, count: int) -> Iterator[list[Process]]:
    """The processes, which end with the block."""
    processes: list[Process] = []
    try:
        for rank in range(count):
            with (folder / f"log-{rank}").open("wb") as log:
                processes.append(
                    subprocess.Popen(
                        [sys.executable, "-c", f"from {__name__} import main; main()", str(folder)],
                        env=_environment(folder, rank, count),
                        stdin=subprocess.PIPE,  # its end tells a process that this one is gone
                        stdout=subprocess.DEVNULL,
                        stderr=None if rank == 0 else log,
                        start_new_session=True,  # Ctrl-C in a terminal reaches this process alone, which passes it on
                    )
                )
        yield processes
    finally:
        for process in processes:
            if process.poll() is None:
                process.terminate()
        for process in processes:
            try:
                process.wait(_END)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdin is not None:
                process.stdin.close()


def _environment(folder: Path, rank: int, count: int) -> dict[str, str]:
    import keras

    loopback = "lo0" if sys.platform == "darwin" else "lo"
    defaults = {
        "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // count)),
        "GLOO_SOCKET_IFNAME": loopback,
        "NCCL_SOCKET_IFNAME": loopback,
        "TORCH_CPP_LOG_LEVEL": "ERROR",  # of the search for unused parameters, which most models do not have
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    return {
        **defaults,
        **os.environ,
        "KERAS_BACKEND": keras.backend.backend(),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        STORE: str(folder / "store"),
    }


def _wait(processes: Sequence[Process]) -> tuple[KeyboardInterrupt | None, int]:
    """Waits for process 0, or for the first one that is lost: the interruption if any, and the number of that one."""
    chief, lost, stopped = processes[0], 0, None
    left = float("inf")
    while chief.poll() is None and left > 0:
        try:
            chief.wait(_POLL)
        except subprocess.TimeoutExpired:
            pass
        except KeyboardInterrupt as error:
            stopped = error
            chief.send_signal(signal.SIGTERM if isinstance(error, SystemExit) else signal.SIGINT)
        if stopped is not None:  # the others cannot go on without process 0
            continue
        if lost == 0 and (ended := [rank for rank, process in enumerate(processes) if rank and process.poll()]):
            lost, left = ended[0], _NOTICE
        left -= _POLL
    return stopped, lost


def _end_of(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _last_line(folder: Path, rank: int) -> str:
    """What a process said last, in brackets."""
    lines = (folder / f"log-{rank}").read_text(errors="replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    return f" ({said[-1]})" if said else ""


def main() -> None:
    """One of the processes."""
    folder, chief = Path(sys.argv[1]), os.environ["RANK"] == "0"
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import_quietly("keras")
    work, arguments = pickle.loads((folder / "task").read_bytes())
    value, failure = None, None
    try:
        value = work(**arguments)
    except Exception as error:
        failure = error
        if os.environ.get("ML4IR_LOSSES_TRACEBACK"):
            traceback.print_exc()
        elif not chief:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
    if chief:
        (folder / "answer.new").write_bytes(_answer(value, failure))
        (folder / "answer.new").rename(folder / "answer")
    sys.exit(failure is not None)


def _answer(value: Any, error: Exception | None) -> bytes:
    try:
        answer = pickle.dumps((value, error))
        pickle.loads(answer)  # some exceptions can be written but not read
        return answer
    except Exception:  # an exception of another package
        return pickle.dumps((None, RunError(f"{type(error).__name__}: {error}")))


def _end_with_parent() -> None:
    """Ends this process when the one that started it is gone, whatever ended it."""
    os.read(0, 1)  # not `sys.stdin`, on which Python waits when it ends
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_END)
    os._exit(1)  # it waits for another process
