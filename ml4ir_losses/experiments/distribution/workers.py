"""The processes that train a model together, as each of them sees them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from ml4ir_losses.data.sharding import WHOLE, Shard


class Workers(Protocol):
    """The processes of a training, from the view of one of them.

    Attributes:
        rank: the number of this process, from 0; process 0, the chief, alone writes files.
        count: the number of processes.
        replicas: the number of devices of all processes.
        shard: the part of each batch that this process reads.
    """

    rank: int
    count: int
    replicas: int
    shard: Shard

    @property
    def chief(self) -> bool:
        """True for the process that writes."""

    def scope(self) -> AbstractContextManager[Any]:
        """The context in which the model is built, compiled and fitted."""

    def dataset(self, batches: Any) -> Any:
        """What `fit` takes for the batches of this process; None for None."""

    def maximum(self, value: int) -> int:
        """The largest value over all processes, each of which must call it at the same point."""

    def single(self, model: Any) -> Any:
        """The model on one device, for evaluation and saving."""


class OneProcess:
    """One process on one device."""

    rank, count, replicas = 0, 1, 1
    chief = True
    shard = WHOLE

    def scope(self) -> AbstractContextManager[Any]:
        """Nothing."""
        return nullcontext()

    def dataset(self, batches: Any) -> Any:
        """The batches."""
        return batches

    def maximum(self, value: int) -> int:
        """The value."""
        return value

    def single(self, model: Any) -> Any:
        """The model itself."""
        return model


ONE_PROCESS = OneProcess()
