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


START = Position()
WHOLE = Shard()
