"""Where a training stands in its data, and which part of each batch a process reads."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Position:
    """The next batch to train on.

    Attributes:
        epoch: its epoch, from 0.
        batch: its number in the epoch, from 0.
    """

    epoch: int = 0
    batch: int = 0

    def of(self, epoch: int) -> Position:
        """The first batch of an epoch for a training that begins here: itself, or the begin of a later epoch."""
        return self if epoch == self.epoch else Position(epoch)


@dataclass(frozen=True)
class Shard:
    """The part of each batch that a process reads.

    Attributes:
        index: the number of the process, from 0.
        count: the number of processes that share a batch.
        devices: the number of devices of each process.
    """

    index: int = 0
    count: int = 1
    devices: int = 1

    @property
    def replicas(self) -> int:
        """The number of devices of all processes."""
        return self.count * self.devices

    def part(self, rows: int) -> slice:
        """Which of the rows of a batch the process reads; the parts differ by at most one row."""
        return slice(self.index * rows // self.count, (self.index + 1) * rows // self.count)

    def filled(self, rows: int) -> int:
        """The smallest multiple of `replicas` of at least `rows`."""
        return -(-rows // self.replicas) * self.replicas


EVERY = slice(None)
"""The part of a batch that is the whole."""
START = Position()
WHOLE = Shard()
