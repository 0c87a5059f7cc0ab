"""Training in the processes that TF_CONFIG lists, on one machine or many, with TensorFlow."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import keras

from ml4ir_losses.config.distribution import MultiWorker
from ml4ir_losses.core.errors import ConfigError, LostProcess
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.experiments.distribution.cluster import Cluster
from ml4ir_losses.experiments.distribution.tensorflow_workers import StrategyWorkers
from ml4ir_losses.model.strategy_model import CHECKED_KERAS

_NOTICED = 30.0  # seconds at most after which a process that stopped is noticed
_joined: dict[Cluster, Any] = {}  # the strategy of the cluster that this process has joined


class ClusterWorkers(StrategyWorkers):
    """The processes of a cluster, from the view of one of them.

    Args:
        strategy: the strategy.
        cluster: the cluster.
    """

    def __init__(self, strategy: Any, cluster: Cluster) -> None:
        super().__init__(strategy, cluster.rank, len(cluster.addresses))
        self.cluster = cluster

    @contextmanager
    def scope(self) -> Iterator[None]:
        """The scope of the strategy.

        Raises:
            LostProcess: when another process ends or does not answer.
        """
        import tensorflow as tf

        errors = tf.errors
        try:
            with self.strategy.scope():
                yield
        except (errors.UnavailableError, errors.AbortedError, errors.CancelledError) as error:
            raise LostProcess(
                f"process {self.rank} of {self.count} lost {self._named(error)}. Start all of them again: the same "
                "command with --resume goes on from the last checkpoint."
            ) from None

    def _named(self, error: Exception) -> str:
        """The process that an error of TensorFlow names first."""
        for job, number in re.findall(r"/job:(\w+)/(?:replica:0/)?task:(\d+)", str(error)):
            rank = self.cluster.rank_of(job, int(number))
            if rank != self.rank:
                return f"process {rank} at {self.cluster.addresses[rank]}"
        return "another one"

    def maximum(self, value: int) -> int:
        """The largest value over all processes, each of which must call it at the same point."""
        import tensorflow as tf

        return int(self._largest(tf.constant([value], tf.int64)))

    @cached_property
    def _largest(self) -> Callable[[Any], Any]:
        import tensorflow as tf

        def gathered(value: Any) -> Any:
            on_device = tf.identity(value)  # only a tensor on a device can be gathered
            return tf.distribute.get_replica_context().all_gather(on_device, axis=0)

        def largest(value: Any) -> Any:
            everywhere = self.strategy.run(gathered, args=(value,))
            return tf.reduce_max(self.strategy.experimental_local_results(everywhere)[0])

        return tf.function(largest)  # type: ignore[no-any-return]


def workers(distribution: MultiWorker) -> ClusterWorkers:
    """This process among those of TF_CONFIG, once all of them are there.

    Raises:
        ConfigError: for a TF_CONFIG that cannot be used, and where a process does not answer in time.
    """
    cluster = Cluster.of(os.environ.get("TF_CONFIG"))
    if not keras.__version__.startswith(f"{CHECKED_KERAS}."):
        LOGGER.warning("multi_worker was checked with Keras %s; this is Keras %s", CHECKED_KERAS, keras.__version__)
    LOGGER.info(
        "multi_worker: process %d of %d, %s",
        *(cluster.rank, len(cluster.addresses), cluster.addresses[cluster.rank]),
    )
    if cluster not in _joined:
        if _joined:
            raise ConfigError(
                "TF_CONFIG: TensorFlow joins one cluster in a process, and this one has joined another: train in a new "
                "process."
            )
        cluster.meet(distribution.timeout)
        _joined[cluster] = _strategy(cluster, distribution.timeout)
    return ClusterWorkers(_joined[cluster], cluster)


def _strategy(cluster: Cluster, timeout: float) -> Any:
    """The strategy of TensorFlow."""
    import tensorflow as tf

    _set_time_limits(cluster, timeout)
    terminate = signal.getsignal(signal.SIGTERM) or signal.SIG_DFL
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:  # TensorFlow has begun to work without the cluster
        raise ConfigError(
            f"training.distribution.strategy: multi_worker ({str(error).splitlines()[0]}): train in a new process."
        ) from None
    except tf.errors.OpError as error:
        raise ConfigError(
            f"TF_CONFIG: the processes did not come together within {timeout:g} s (training.distribution.timeout; "
            f"{type(error).__name__}). Start all of them again."
        ) from None
    finally:
        if threading.current_thread() is threading.main_thread():  # TensorFlow keeps this signal to itself
            signal.signal(signal.SIGTERM, terminate)


def _set_time_limits(cluster: Cluster, timeout: float) -> None:
    """Limits the time that TensorFlow waits for other processes, which is an hour or more by itself."""
    from tensorflow.python.eager import context

    job = context.coordination_config_pb2.CoordinatedJob
    context.context().configure_coordination_service(
        service_type="standalone",
        service_leader=f"/job:{cluster.jobs[0][0]}/replica:0/task:0",
        cluster_register_timeout_in_ms=int(1000 * timeout),
        heartbeat_timeout_in_ms=int(1000 * min(timeout, _NOTICED)),
        coordinated_jobs=[job(name=name, num_tasks=number) for name, number in cluster.jobs],
    )
    context.context().coordination_service.cluster_register_with_barrier = True
