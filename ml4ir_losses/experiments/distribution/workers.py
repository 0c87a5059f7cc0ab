"""The processes that train a model together, as each of them sees them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from ml4ir_losses.data.sharding import WHOLE, Shard


class Workers:
    """The processes of a training, from the view of one of them; by itself one process on one device.

    Args:
        rank: the number of this process, from 0; process 0, the chief, alone writes files.
        count: the number of processes.
        replicas: the number of devices of all processes.
        shard: the part of each batch that this process reads.
    """

    def __init__(self, rank: int = 0, count: int = 1, replicas: int = 1, shard: Shard = WHOLE) -> None:
        self.rank, self.count, self.replicas, self.shard = rank, count, replicas, shard

    @property
    def chief(self) -> bool:
        """True for the process that writes."""
        return self.rank == 0

    def scope(self) -> AbstractContextManager[Any]:
        """The context in which the model is built, compiled and fitted."""
        return nullcontext()

    def dataset(self, batches: Any) -> Any:
        """What `fit` takes for the batches of this process; None for None."""
        return batches

    def maximum(self, value: int) -> int:
        """The largest value over all processes, each of which must call it at the same point."""
        return value

    def single(self, model: Any) -> Any:
        """The model on one device, for evaluation and saving."""
        return model


ONE_PROCESS = Workers()
