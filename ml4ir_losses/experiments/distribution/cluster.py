"""The processes that TF_CONFIG lists, and their first meeting."""

from __future__ import annotations

import errno
import json
import socket
import time
from dataclasses import dataclass, replace
from typing import Any

from ml4ir_losses.core.errors import ConfigError
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.experiments.distribution.environment import is_address, place_of

_JOBS = ("chief", "worker")
_EXAMPLE = '{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": {"type": "worker", "index": 0}}'
_PAUSE = 0.2  # seconds between two attempts to reach a process
_NEWS = 10.0  # seconds between two lines about processes that are missing


@dataclass(frozen=True)
class Cluster:
    """The processes of a training, from the view of one of them.

    Attributes:
        addresses: `host:port` of each process; the first one is the chief.
        rank: the number of this process.
        jobs: the jobs of TensorFlow, each with the number of its processes, in the order of the addresses.
    """

    addresses: tuple[str, ...]
    rank: int
    jobs: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, text: str | None) -> Cluster:
        """The cluster that TF_CONFIG describes.

        Raises:
            ConfigError: where it is missing, is not JSON, or does not say which processes there are and which this is.
        """
        if not text:
            raise ConfigError(
                "training.distribution.strategy: multi_worker reads from the environment variable TF_CONFIG which "
                f"processes there are and which this one is, and it is not set. An example: {_EXAMPLE}"
            )
        try:
            config = json.loads(text)
        except ValueError as error:
            raise _wrong(f"is not JSON ({error})", text) from None
        cluster = config.get("cluster") if isinstance(config, dict) else None
        task = config.get("task") if isinstance(config, dict) else None
        if not isinstance(cluster, dict) or not isinstance(task, dict):
            raise _wrong("needs the keys cluster and task", text)
        if unknown := set(cluster) - set(_JOBS):
            raise _wrong(f"has the job {min(unknown)!r}; multi_worker has the jobs chief and worker", text)
        jobs = {job: cluster[job] for job in _JOBS if job in cluster}
        addresses: list[str] = []
        for members in jobs.values():
            for address in members if isinstance(members, list) else [members]:
                if not isinstance(address, str) or not is_address(address):
                    raise _wrong(f"has {address!r} in the place of an address host:port", text)
                addresses.append(address)
        if not addresses or len(jobs.get("chief", ())) > 1:
            raise _wrong("lists no worker" if not addresses else "lists more than one chief", text)
        if len(set(addresses)) < len(addresses):
            raise _wrong("lists an address twice", text)
        kind, index = task.get("type"), task.get("index")
        if kind not in jobs or not isinstance(index, int) or not 0 <= index < len(jobs[kind]):
            allowed = ", ".join(f"{job} 0 to {len(members) - 1}" for job, members in jobs.items())
            raise _wrong(f"has the task {kind} {index!r}, which is none of the cluster: {allowed}", text)
        cluster = cls(tuple(addresses), 0, tuple((job, len(members)) for job, members in jobs.items()))
        return replace(cluster, rank=cluster.rank_of(kind, index))

    def rank_of(self, job: str, index: int) -> int:
        """The number of a process among all, given its job and its number there."""
        return index + sum(number for name, number in self.jobs[: [name for name, _ in self.jobs].index(job)])

    def meet(self, timeout: float) -> None:
        """Returns when every process listens on its address: TensorFlow itself would wait for ever.

        Raises:
            ConfigError: after `timeout` seconds, or where this process cannot listen.
        """
        missing = [address for rank, address in enumerate(self.addresses) if rank != self.rank]
        if not missing:
            return
        end, news = time.monotonic() + timeout, time.monotonic() + _NEWS
        with _listener(self.addresses[self.rank], len(self.addresses)):
            while missing := [address for address in missing if not _answers(address)]:
                now = time.monotonic()
                if now > end:
                    raise ConfigError(
                        f"TF_CONFIG: nobody answers at {', '.join(missing)} within {timeout:g} s "
                        "(training.distribution.timeout). Start every process of the cluster, and check addresses and "
                        "firewalls."
                    )
                if now > news:
                    LOGGER.info("waiting for %s", ", ".join(missing))
                    news = now + _NEWS
                time.sleep(_PAUSE)


def _wrong(what: str, text: str) -> ConfigError:
    shown = text if len(text) <= 300 else f"{text[:300]}..."
    return ConfigError(f"TF_CONFIG {what}. Received: {shown}. An example: {_EXAMPLE}")


def _listener(address: str, processes: int) -> socket.socket:
    """A socket that others can reach; it lets TensorFlow listen on the same port as soon as it is closed."""
    host, port = place_of(address)
    places = [*_resolved(host, port), ("::", port), ("", port)]  # the host may be the name of a gateway
    reason = "the port cannot be used"
    for place in places:
        try:
            return socket.create_server(
                place[:2], family=socket.AF_INET6 if ":" in place[0] else socket.AF_INET, backlog=max(processes, 16)
            )
        except OSError as error:
            reason = error.strerror or str(error)
            if error.errno == errno.EADDRINUSE:
                break
    raise ConfigError(
        f"TF_CONFIG: this process cannot listen at {address} ({reason}). Does an earlier process still run?"
    )


def _resolved(host: str, port: int) -> list[Any]:
    try:
        return [info[4] for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except OSError:
        return []


def _answers(address: str) -> bool:
    """True if somebody listens at the address."""
    try:
        with socket.create_connection(place_of(address), timeout=_PAUSE * 5):
            return True
    except OSError:
        return False
