"""Programs of tests that run on several devices, which must be set before a backend starts."""

import atexit
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np

BACKEND = keras.backend.backend()
TOLERANCE = 1e-5
_PROGRAM = "ON_REPLICAS"  # set in the environment of a program


def run_on_replicas(program: Path, cases: list) -> list[str]:
    """What differs from one device, as the program prints it; on torch two processes run it."""
    environment = {**os.environ, "KERAS_BACKEND": BACKEND, "TF_CPP_MIN_LOG_LEVEL": "3", _PROGRAM: "1"}
    if BACKEND == "jax":
        flags = os.environ.get("XLA_FLAGS", "")
        environment["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count=8"
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ranks = ["0", "1"] if BACKEND == "torch" else ["0"]
    command = [sys.executable, str(program), json.dumps(cases)]
    processes = [
        subprocess.Popen([*command, rank, str(port)], env=environment, text=True, stdout=-1, stderr=-1)
        for rank in ranks
    ]
    outputs = [process.communicate() for process in processes]
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, f"exit code {process.returncode}: {errors[-3000:]}"
    return json.loads(outputs[0][0].splitlines()[-1])


def _two_devices():
    """The strategy of two CPU devices of TensorFlow, one for a program: another would number its exchanges again."""
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


STRATEGY = _two_devices() if BACKEND == "tensorflow" and _PROGRAM in os.environ else None


def join(rank: str, port: str) -> None:
    """Makes this process one of two of torch."""
    from torch import distributed

    store = distributed.TCPStore("127.0.0.1", int(port), 2, rank == "0")
    distributed.init_process_group("gloo", store=store, rank=int(rank), world_size=2)
    atexit.register(distributed.destroy_process_group)  # its threads would abort a process that ends


def difference(name, found, expected):
    """A line for arrays that differ, relative to their largest number."""
    found, expected = (np.asarray(x, dtype="float64") for x in (found, expected))
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    if found.shape != expected.shape:
        yield f"{name}: shape {found.shape} instead of {expected.shape}"
    elif not (largest := np.abs(found - expected).max(initial=0.0) / scale) <= TOLERANCE:
        yield f"{name}: differs by {largest:.1e}"
