"""The processes that train the runs of a comparison: this one, or several others."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

from ml4ir_losses.core.errors import ConfigError, RunError, UserError
from ml4ir_losses.core.lazy import import_quietly
from ml4ir_losses.core.log import LOGGER, hidden_log
from ml4ir_losses.core.memory import AddedMemory
from ml4ir_losses.experiments.comparing.plan import Outcome, Plan, Task

_MIB = 2.0**20


class Workers(Protocol):
    """Takes tasks and gives their outcomes."""

    def free(self) -> list[int]:
        """The workers that can take a task."""

    def start(self, worker: int, task: Task) -> None:
        """Gives a worker a task."""

    def finished(self) -> tuple[int, Task, Outcome]:
        """Waits for the next outcome."""

    def close(self) -> None:
        """Ends the processes."""


class Trainer:
    """Trains the tasks of a plan one after the other in this process.

    Args:
        plan: the runs.
        bench: the `Workbench` of this process, if it has one.
        threads: threads of the other libraries.
    """

    def __init__(self, plan: Plan, bench: Any = None, threads: int = 0) -> None:
        if bench is None:
            from ml4ir_losses.experiments.trials import Workbench

            bench = Workbench()
        self.plan, self.bench, self.threads = plan, bench, threads or default_threads(1)

    def outcome(self, task: Task) -> Outcome:
        """The outcome of a task; a failure is one, too. Ctrl-C raises `KeyboardInterrupt`, whoever catches it first."""
        with hidden_log(), _noticing_interrupts() as interrupted, AddedMemory() as memory:
            try:
                outcome = self._train(task)
            except (UserError, RunError) as error:
                outcome = Outcome(error=str(error))
            except Exception as error:
                reason = next((line for line in str(error).splitlines() if line.strip()), "no reason given")
                outcome = Outcome(error=f"{type(error).__name__}: {reason}")
        if interrupted:
            raise KeyboardInterrupt
        added = None if memory.bytes is None else memory.bytes / _MIB
        return Outcome(**{**vars(outcome), "memory": added})

    def _train(self, task: Task) -> Outcome:
        candidate, config, part = self.plan.candidate(task.name), self.plan.config(task), self.plan.part
        if candidate.kind == "library":
            from ml4ir_losses.experiments.comparing.boosted_trees import train_library

            settings, experiment = candidate.settings[task.setting], self.bench.prepare(config)
            return train_library(task.name, experiment, settings, task.seed, part, self.threads)
        trial = self.bench.train(config, parts=[part])
        judged = trial.judged[part]
        return Outcome(trial.score, trial.mode, judged.ids, judged.values, judged.weights, trial.seconds, trial.epochs)


class ThisProcess:
    """One worker: this process."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.task: Task | None = None

    def free(self) -> list[int]:
        return [0] if self.task is None else []

    def start(self, worker: int, task: Task) -> None:
        self.task = task

    def finished(self) -> tuple[int, Task, Outcome]:
        task, self.task = self.task, None
        if task is None:
            raise RuntimeError("no task was started")
        return 0, task, self.trainer.outcome(task)

    def close(self) -> None:
        """Nothing: there is no other process."""


class Processes:
    """Several processes, each with its own data and traced steps.

    They are started afresh, not forked: TensorFlow's threads do not survive a fork. Each has its share of the CPUs.

    Raises:
        ConfigError: for data in memory that another process cannot get.
    """

    def __init__(self, plan: Plan, jobs: int) -> None:
        self.context = multiprocessing.get_context("spawn")
        self.plan, self.jobs = plan, jobs
        self.workers: list[tuple[Any, Connection]] = []
        self.tasks: dict[int, Task] = {}
        try:
            self.workers = [self._worker() for _ in range(jobs)]
        except (TypeError, AttributeError, ValueError, NotImplementedError) as error:  # what pickle raises
            self.close()
            raise ConfigError(f"--jobs {jobs}: the data cannot be passed to other processes ({error}).") from None

    def _worker(self) -> tuple[Any, Connection]:
        ours, theirs = self.context.Pipe()
        threads = default_threads(self.jobs)
        process = self.context.Process(target=_work, args=(theirs, self.plan, threads), daemon=True)
        with _environment(_thread_limits(threads)):
            process.start()
        theirs.close()
        return process, ours

    def free(self) -> list[int]:
        return [i for i in range(len(self.workers)) if i not in self.tasks]

    def start(self, worker: int, task: Task) -> None:
        self.tasks[worker] = task
        with suppress(OSError):  # the process ended; `finished` sees that
            self.workers[worker][1].send(task)

    def finished(self) -> tuple[int, Task, Outcome]:
        busy = {self.workers[i][1]: i for i in self.tasks}
        connection = wait(list(busy))[0]
        worker = busy[connection]  # type: ignore[index]
        task = self.tasks.pop(worker)
        try:
            outcome: Outcome = self.workers[worker][1].recv()
        except (EOFError, OSError):
            process = self.workers[worker][0]
            process.join()
            self.workers[worker] = self._worker()
            outcome = Outcome(
                error=f"its process ended with code {process.exitcode}{_killed(process.exitcode)}", crashed=True
            )
        return worker, task, outcome

    def close(self) -> None:
        for process, connection in self.workers:
            connection.close()
            process.terminate()
        for process, _ in self.workers:
            process.join()


def _killed(code: int | None) -> str:
    return ", perhaps for lack of memory" if code == -signal.SIGKILL else ""


def _work(connection: Connection, plan: Plan, threads: int) -> None:
    """The main function of a worker process: tasks in, outcomes out, until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one ends the others
    LOGGER.addHandler(logging.NullHandler())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import_quietly("keras")
    trainer = Trainer(plan, threads=threads)
    try:
        while True:
            connection.send(trainer.outcome(connection.recv()))
    except (EOFError, OSError):
        pass


def _end_with_parent() -> None:
    """Ends this process when the one that started it is gone, killed perhaps, and nobody reads the outcome."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def default_jobs() -> int:
    """How many processes train by default: one per two CPUs, which small models do not keep busy; one with a GPU."""
    return 1 if Path("/dev/nvidiactl").exists() else max(_cpus() // 2, 1)


def default_threads(jobs: int) -> int:
    """The threads of each of several processes."""
    return max(_cpus() // jobs, 1)


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _thread_limits(threads: int) -> dict[str, str]:
    """The environment that limits the threads of TensorFlow, NumPy and PyTorch."""
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return dict.fromkeys(names, str(threads))


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Sets variables that a started process inherits."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _noticing_interrupts() -> Iterator[list[int]]:
    """A list that is not empty after Ctrl-C, also if the training caught its `KeyboardInterrupt`."""
    noticed: list[int] = []
    try:
        before = signal.getsignal(signal.SIGINT)
        if not callable(before):
            yield noticed
            return

        def notice(number: int, frame: Any) -> None:
            noticed.append(number)
            before(number, frame)

        signal.signal(signal.SIGINT, notice)
    except ValueError:  # not the main thread, which alone gets signals
        yield noticed
        return
    try:
        yield noticed
    finally:
        signal.signal(signal.SIGINT, before)
