"""`data_parallel` on torch: several processes, each with a copy of the model and its part of every batch."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import Any

from ml4ir_losses.config.distribution import DataParallel
from ml4ir_losses.core.errors import ConfigError, LostProcess
from ml4ir_losses.core.log import LOGGER, hidden_log
from ml4ir_losses.data.sharding import Shard
from ml4ir_losses.experiments.distribution.environment import first_line, whole_number
from ml4ir_losses.experiments.distribution.local_processes import STORE
from ml4ir_losses.experiments.distribution.workers import Workers
from ml4ir_losses.ops.replicas import across_processes

_LAUNCHED = ("RANK", "WORLD_SIZE")  # torchrun sets them for every process
_PATH = "training.distribution"


def is_launched() -> bool:
    """True in one of the processes that torchrun, `local_processes` or another program started."""
    return all(name in os.environ for name in _LAUNCHED)


@contextmanager
def workers(config: DataParallel) -> Iterator[ProcessWorkers]:
    """The processes that torchrun or `local_processes` started, from the view of this one.

    Of the processes of a machine one shows its log: the others would show the same.

    Raises:
        ConfigError: where there are none, or other ones than the config says, and when one of them does not answer.
    """
    from torch import distributed

    if config.devices is not None:
        raise ConfigError(f"{_PATH}.devices: is for JAX; torch has a process for each device: set workers.")
    if not distributed.is_initialized():
        _join(config)
    rank, count = distributed.get_rank(), distributed.get_world_size()
    if config.workers not in (None, count):
        raise ConfigError(f"{_PATH}.workers: {config.workers}, but {count} processes were started (WORLD_SIZE).")
    with hidden_log() if _local_rank() else nullcontext():
        LOGGER.info("data_parallel: %d processes, %s", count, distributed.get_backend())
        yield ProcessWorkers(rank, count)


def _join(config: DataParallel) -> None:
    """Makes this process one of those that train together, for the rest of its life."""
    from torch import distributed

    if not is_launched():
        raise ConfigError(
            f"{_PATH}.workers: give the number of local processes, or start the command on every machine with torchrun."
        )
    rank, count = (whole_number(name) for name in _LAUNCHED)
    store = os.environ.get(STORE)
    address = f"file://{store}" if store else "env://"
    try:
        distributed.init_process_group(
            _engine(), address, timedelta(seconds=config.timeout), rank=rank, world_size=count
        )
    except (RuntimeError, ValueError) as error:  # torch has no narrower ones
        place = store or ":".join(os.environ.get(name, "?") for name in ("MASTER_ADDR", "MASTER_PORT"))
        raise ConfigError(
            f"{_PATH}: process {rank} of {count} reached no other ones at {place} within {config.timeout:g} s "
            f"({_PATH}.timeout): {first_line(error)}"
        ) from None
    atexit.register(distributed.destroy_process_group)


def _engine() -> str:
    """The engine that sends tensors: nccl where each process has its GPU, which is chosen here; gloo on the CPU."""
    import torch

    if not torch.cuda.is_available():
        return "gloo"
    index = _local_rank()
    if index >= torch.cuda.device_count():
        raise ConfigError(
            f"{_PATH}.workers: process {index + 1} of this machine finds no GPU of its own among "
            f"{torch.cuda.device_count()}: start as many processes as there are GPUs."
        )
    torch.cuda.set_device(index)
    return "nccl"


def _local_rank() -> int:
    """The number of this process among those of its machine."""
    return whole_number("LOCAL_RANK") if "LOCAL_RANK" in os.environ else 0


class ProcessWorkers(Workers):
    """The processes of `torch.distributed`, from the view of one of them.

    Args:
        rank: the number of this process.
        count: the number of processes.
    """

    def __init__(self, rank: int, count: int) -> None:
        super().__init__(rank, count, count, Shard(rank, count))

    @contextmanager
    def scope(self) -> Iterator[None]:
        """The context in which steps wait for each other.

        Raises:
            LostProcess: when another one ends or does not answer.
        """
        try:
            with across_processes():
                yield
        except RuntimeError as error:
            if not _is_lost(error):
                raise
            raise LostProcess(
                f"process {self.rank} of {self.count} lost another one ({first_line(error)}). The same command with "
                "--resume goes on from the last checkpoint."
            ) from None

    def maximum(self, value: int) -> int:
        """The largest value over all processes, each of which must call it at the same point."""
        import torch
        from torch import distributed

        device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
        largest = torch.tensor([value], device=device)
        distributed.all_reduce(largest, distributed.ReduceOp.MAX)
        return int(largest)

    def single(self, model: Any) -> Any:
        """The model itself, of which every process has a copy."""
        from ml4ir_losses.model import process_steps

        process_steps.leave(model)
        return model


def _is_lost(error: RuntimeError) -> bool:
    """True for an error of the engines about another process."""
    from torch import distributed

    return isinstance(error, distributed.DistError) or "gloo" in str(error)
