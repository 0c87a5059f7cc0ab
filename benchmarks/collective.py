"""Milliseconds in which two processes of this machine exchange numbers, by TensorFlow's ring.

    python benchmarks/collective.py

The processes do nothing else, on a core each, in a network that has nothing but the loopback interface. Medians of 30
repetitions.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from distribution import INSIDE, PARAMETERS, free_ports

REPETITIONS = 30


def worker() -> None:
    """Measures in one of the processes; the first one prints."""
    import tensorflow as tf

    ring = tf.distribute.experimental.CommunicationImplementation.RING
    options = tf.distribute.experimental.CommunicationOptions(implementation=ring)
    strategy = tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)

    def context() -> Any:
        return tf.distribute.get_replica_context()

    def added(*sizes: int) -> Callable[[], Any]:
        return lambda: context().all_reduce(tf.distribute.ReduceOp.SUM, [tf.ones(size) for size in sizes])

    cases = {
        "nothing": lambda: tf.ones(1),
        "add up one number": added(1),
        f"add up {PARAMETERS:,} numbers, in six parts": added(136 * 256, 256, 256 * 128, 128, 128, 1),
        "gather 64 rows of 256 numbers": lambda: context().all_gather(tf.ones((64, 256)), 0),
    }
    for name, run in cases.items():
        step = tf.function(lambda run=run: strategy.run(run))
        times = []
        for _ in range(REPETITIONS + 2):
            started = time.perf_counter()
            tf.nest.map_structure(lambda x: x.numpy(), step())
            times.append(1000 * (time.perf_counter() - started))
        if json.loads(os.environ["TF_CONFIG"])["task"]["index"] == 0:
            print(f"| {name} | {statistics.median(times[2:]):.1f} ms |", flush=True)


def main() -> None:
    """Starts the processes."""
    if "TF_CONFIG" in os.environ:
        worker()
        return
    if not os.environ.get(INSIDE):
        network = ["unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable, *sys.argv]
        sys.exit(subprocess.run(network, env={**os.environ, INSIDE: "1"}).returncode)
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    processes = []
    for rank in range(2):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(task), "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = ["taskset", "-c", str(rank % len(os.sched_getaffinity(0))), sys.executable, *sys.argv]
        processes.append(subprocess.Popen(command, env=environment))
    sys.exit(max(process.wait() for process in processes))


if __name__ == "__main__":
    main()
