"""Joins what waits for the model, so that one call answers several requests."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from ml4ir_losses.serving.errors import Overloaded
from ml4ir_losses.serving.settings import Batching

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass
class _Waiting(Generic[Item, Result]):
    item: Item
    size: int
    alone: bool
    future: Future[Result]


class Batcher(Generic[Item, Result]):
    """Calls a function from one thread of its own, with all items that came while it was busy, as far as they fit.

    An item whose future was cancelled is left out. Where a call of several items fails, each is tried alone, so that
    one that the function cannot take fails no other.

    Attributes:
        observed: called after each call of the function, with the number of its items and the sum of their sizes.

    Args:
        function: gives the results of several items, in their order.
        batching: how many items are joined, and how many may wait.
    """

    observed: Callable[[int, int], object]

    def __init__(self, function: Callable[[Sequence[Item]], Sequence[Result]], batching: Batching) -> None:
        self.function, self.batching = function, batching
        self.observed = lambda items, size: None
        self._queue: deque[_Waiting[Item, Result]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """The number of items that wait."""
        return len(self._queue)

    def submit(self, item: Item, size: int = 1, alone: bool = False) -> Future[Result]:
        """The result of an item, once it is there.

        Args:
            item: what the function takes.
            size: the number of its documents; in a call, all items count as the largest.
            alone: it shares a call with no other.

        Raises:
            Overloaded: if too many wait, or the batcher is closed.
        """
        future: Future[Result] = Future()
        with self._changed:
            if self._closed:
                raise Overloaded("the server stops; try again.")
            if len(self._queue) >= self.batching.queue:
                raise Overloaded(f"{len(self._queue)} requests wait for the model, the most that may; try again.")
            self._queue.append(_Waiting(item, size, alone, future))
        try:  # on an event loop the requests that are ready come first: they may be joined
            asyncio.get_running_loop().call_soon(self._wake)
        except RuntimeError:
            self._wake()
        return future

    def close(self) -> None:
        """Answers what waits, and ends the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify()

    def _work(self) -> None:
        while batch := self._next():
            self._answer([one for one in batch if one.future.set_running_or_notify_cancel()])

    def _next(self) -> list[_Waiting[Item, Result]]:
        """The items of the next call; empty at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            if self.batching.wait:
                is_full = lambda: self._closed or self._fitting() < len(self._queue)  # noqa: E731
                self._changed.wait_for(is_full, self.batching.wait / 1_000)
            return [self._queue.popleft() for _ in range(self._fitting())]

    def _fitting(self) -> int:
        """How many of the first items make a call: one at least."""
        longest = 0
        for number, one in enumerate(self._queue, 1):
            longest = max(longest, one.size)
            if one.alone or number * longest > self.batching.size:
                return max(1, number - 1)
        return len(self._queue)

    def _answer(self, batch: Sequence[_Waiting[Item, Result]]) -> None:
        if not batch:
            return
        try:
            results = self.function([one.item for one in batch])
        except Exception as error:
            if len(batch) == 1:
                batch[0].future.set_exception(error)
                return
            for one in batch:
                self._answer([one])
        else:
            self.observed(len(batch), sum(one.size for one in batch))
            for one, result in zip(batch, results, strict=True):
                one.future.set_result(result)
