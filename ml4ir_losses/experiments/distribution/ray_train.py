"""Runs a function in the processes of Ray Train, which starts them again when one is lost."""

from __future__ import annotations

import logging
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from logging.handlers import QueueListener
from typing import Any

import keras

from ml4ir_losses.config.distribution import RayTrain
from ml4ir_losses.core.errors import ConfigError, LostProcess, RunError, UserError
from ml4ir_losses.core.extras import import_extra
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.experiments.distribution.environment import first_line, is_address, place_of

_OBJECT_STORE = 100 * 2**20  # bytes; nothing but the config goes through it
_ANSWER = 10.0  # seconds that a cluster has to answer


def run_on_ray(work: Callable[..., Any], arguments: Mapping[str, Any], distribution: RayTrain) -> Any:
    """Calls `work(**arguments)` in every process and returns what process 0 returns.

    The processes work in the current directory and know each other: see `environment`. When one is lost, all are
    started again, at most `distribution.retries` times; a `UserError` or a `RunError` ends them at once. Process 0 logs
    to this process.

    Args:
        work: a function of a module that the processes can import.
        arguments: what it is called with.
        distribution: how many processes, and where.

    Raises:
        ConfigError: for a cluster that does not answer or is too small.
        UserError, RunError: what `work` raises.
        LostProcess: the processes were lost more often than they may be.
        KeyboardInterrupt: by Ctrl-C, which ends the processes where they are.
    """
    # Ray reports what is done with it to its makers by default.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = import_extra("ray", "ray", "training.distribution.strategy: ray")
    scratch = tempfile.TemporaryDirectory(prefix="ml4ir_losses-")
    with _connected(ray, distribution), _shown_log() as queue, _ctrl_c_given_back(), scratch as state:
        from ray.train import ControllerError, FailureConfig, RunConfig, ScalingConfig, WorkerGroupError
        from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

        from ml4ir_losses.experiments.distribution.ray_processes import Failures, Rendezvous, run_process

        trainer = DataParallelTrainer(
            run_process,
            train_loop_config={"work": work, "arguments": arguments, "directory": os.getcwd(), "queue": queue},
            backend_config=Rendezvous(),
            scaling_config=ScalingConfig(
                num_workers=distribution.workers,
                use_gpu=_resources(distribution).get("GPU", 0) > 0,
                resources_per_worker=_resources(distribution),
            ),
            run_config=RunConfig(
                storage_path=state,
                failure_config=FailureConfig(max_failures=distribution.retries),
                callbacks=[Failures(queue)],
                worker_runtime_env={"env_vars": {"KERAS_BACKEND": keras.backend.backend()}},
            ),
        )
        try:
            return trainer.fit().return_value
        except SystemExit as stop:  # Ray's answer to Ctrl-C
            raise (stop if isinstance(stop, KeyboardInterrupt) else KeyboardInterrupt) from None
        except ControllerError as error:
            if isinstance(error.controller_failure, (UserError, RunError)):
                raise error.controller_failure from None
            raise
        except WorkerGroupError as error:
            rank, reason = min(error.worker_failures.items())
            raise LostProcess(
                f"process {rank} of {distribution.workers} was lost: {type(reason).__name__}: {first_line(reason)} "
                f"(training.distribution.retries: {distribution.retries}). The same command with --resume goes on from "
                "the last checkpoint."
            ) from error


def _resources(distribution: RayTrain) -> dict[str, float]:
    """What each process needs."""
    return {"CPU": 1, **distribution.resources}


@contextmanager
def _connected(ray: Any, distribution: RayTrain) -> Iterator[None]:
    """Uses the Ray of this process, a cluster, or a local Ray that ends with the block."""
    if ray.is_initialized():
        _check_size(ray, distribution)
        yield
        return
    address = distribution.address or os.environ.get("RAY_ADDRESS") or "local"
    options: dict[str, Any] = {}
    if address == "local":
        cores = distribution.workers * _resources(distribution)["CPU"]
        options = {"num_cpus": -int(-cores // 1), "object_store_memory": _OBJECT_STORE, "include_dashboard": False}
    else:
        _check_answer(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ConfigError(f"training.distribution.address: {address}: {error}") from None
    try:
        _check_size(ray, distribution)
        yield
    finally:
        ray.shutdown()


def _check_answer(address: str) -> None:
    """Raises `ConfigError` where nobody answers; Ray would try for minutes."""
    if not is_address(address):
        return  # such as `auto`
    try:
        socket.create_connection(place_of(address), timeout=_ANSWER).close()
    except OSError as error:
        raise ConfigError(
            f"training.distribution.address: nobody answers at {address} ({error.strerror or error}). "
            "`ray start --head` starts a cluster and shows its address."
        ) from None


def _check_size(ray: Any, distribution: RayTrain) -> None:
    """Raises `ConfigError` for a cluster that has less than all processes need: Ray would wait."""
    has = ray.cluster_resources()
    for name, each in _resources(distribution).items():
        needed = distribution.workers * each
        if has.get(name, 0) < needed:
            raise ConfigError(
                f"training.distribution: {distribution.workers} workers with {name}: {each:g} need {needed:g} {name}, "
                f"and Ray has {has.get(name, 0):g}. Lower workers or resources, or add machines."
            )


@contextmanager
def _shown_log() -> Iterator[Any]:
    """A queue whose log records are handled in this process."""
    from ray.util.queue import Queue

    queue = Queue(actor_options={"num_cpus": 0})
    listener = QueueListener(queue, _Here())
    listener.start()
    try:
        yield queue
    finally:
        listener.stop()


class _Here(logging.Handler):
    """Hands records on to the handlers of this process."""

    def emit(self, record: logging.LogRecord) -> None:
        LOGGER.handle(record)


@contextmanager
def _ctrl_c_given_back() -> Iterator[None]:
    """Restores the handler of Ctrl-C, which Ray Train replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
