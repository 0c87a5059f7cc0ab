"""What runs inside Ray: the processes of a training, and the callback of the one that watches them."""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from logging.handlers import QueueHandler
from typing import Any

import keras
import ray
from ray.train import UserCallback, get_context
from ray.train.backend import Backend, BackendConfig

from ml4ir_losses.core.errors import ConfigError, LostProcess, RunError, UserError
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.experiments.distribution.environment import IN_RAY, first_line


def run_process(task: Mapping[str, Any]) -> Any:
    """Calls `task["work"]` with `task["arguments"]` in `task["directory"]`; process 0 logs into `task["queue"]`."""
    directory: str = task["directory"]
    try:
        os.chdir(directory)
    except OSError as error:
        raise ConfigError(
            f"{directory}: cannot be used on {socket.gethostname()} ({error.strerror}). Every machine of the cluster "
            "needs the folder in which the command is run."
        ) from None
    if get_context().get_world_rank() == 0:
        LOGGER.addHandler(QueueHandler(task["queue"]))
        LOGGER.setLevel(logging.INFO)
    work: Callable[..., Any] = task["work"]
    return work(**task["arguments"])


def environment(backend: str, addresses: Sequence[str], rank: int) -> dict[str, str]:
    """What tells a process its number and where the others are: TF_CONFIG, or the variables of torchrun.

    Args:
        backend: the backend of Keras.
        addresses: `host:port` of each process.
        rank: the number of the process.
    """
    if backend == "tensorflow":
        cluster = {"cluster": {"worker": list(addresses)}, "task": {"type": "worker", "index": rank}}
        return {"TF_CONFIG": json.dumps(cluster)}
    host, _, port = addresses[0].rpartition(":")
    return {
        "MASTER_ADDR": host.strip("[]"),
        "MASTER_PORT": port,
        "RANK": str(rank),
        "WORLD_SIZE": str(len(addresses)),
        "LOCAL_RANK": "0",  # Ray shows each process its own GPUs alone
    }


def free_address() -> str:
    """`host:port` of this process, with a port that is free."""
    host = ray.util.get_node_ip_address()
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.bind((host, 0))
        port = listener.getsockname()[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _Backend(Backend):  # type: ignore[misc]
    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        addresses = worker_group.execute(free_address)
        backend = keras.backend.backend()
        for rank in range(len(addresses)):
            worker_group.execute_single(rank, _set, {IN_RAY: "1", **environment(backend, addresses, rank)})


def _set(variables: Mapping[str, str]) -> None:
    os.environ.update(variables)


class Rendezvous(BackendConfig):  # type: ignore[misc]
    """Each process finds the others as TensorFlow or torchrun would tell it: see `environment`."""

    @property
    def backend_cls(self) -> type[_Backend]:
        """What does it."""
        return _Backend


class Failures(UserCallback):  # type: ignore[misc]
    """Logs each lost process, and ends the run for an error that a new start does not mend.

    Args:
        queue: takes log records.
    """

    def __init__(self, queue: Any) -> None:
        self.queue = queue

    def after_exception(self, run_context: Any, worker_exceptions: Mapping[int, BaseException]) -> None:
        """Called before Ray decides whether the processes are started again."""
        for rank, error in worker_exceptions.items():
            if isinstance(error, (UserError, RunError)):
                raise error
            if isinstance(error, LostProcess):  # what it advises is done here
                text = first_line(error).partition(". ")[0]
            else:
                text = f"process {rank} was lost ({type(error).__name__}: {first_line(error)})"
            self.queue.put_nowait(logging.LogRecord(LOGGER.name, logging.WARNING, "", 0, text, None, None))
