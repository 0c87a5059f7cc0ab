"""Requests that wait for the model share its calls, and no request is harmed by another."""

import asyncio
import threading
import time

import pytest

from ml4ir_losses.serving.batcher import Batcher
from ml4ir_losses.serving.errors import Overloaded
from ml4ir_losses.serving.settings import Batching


class Model:
    """Doubles numbers; waits at each call until it is let go, and keeps what it was called with."""

    def __init__(self, free=False):
        self.calls, self.gate, self.called = [], threading.Semaphore(100 if free else 0), threading.Semaphore(0)

    def __call__(self, items):
        self.calls.append(list(items))
        self.called.release()
        assert self.gate.acquire(timeout=10)
        if "bad" in items:
            raise ValueError("bad")
        return [2 * item for item in items]


@pytest.fixture
def busy():
    """A batcher whose model is busy with the number 0, and the model."""
    made = []

    def make(**batching):
        model = Model()
        batcher = Batcher(model, Batching(**batching))
        first = batcher.submit(0)
        assert model.called.acquire(timeout=10)
        made.append((model, batcher))
        return model, batcher, first

    yield make
    for model, batcher in made:
        model.gate.release(100)
        batcher.close()


def test_what_waits_is_joined_and_each_gets_its_own_result(busy):
    model, batcher, first = busy()
    others = [batcher.submit(i) for i in range(1, 5)]
    assert batcher.waiting == 4
    model.gate.release(2)
    assert [future.result(10) for future in (first, *others)] == [0, 2, 4, 6, 8]
    assert model.calls == [[0], [1, 2, 3, 4]]


def test_an_item_waits_for_no_other_while_the_model_is_free():
    model = Model(free=True)
    batcher = Batcher(model, Batching())
    assert [batcher.submit(i).result(10) for i in range(3)] == [0, 2, 4]
    batcher.close()
    assert model.calls == [[0], [1], [2]]


def test_a_call_holds_no_more_padded_documents_than_allowed(busy):
    model, batcher, _ = busy(size=12)
    futures = [batcher.submit(i, size) for i, size in enumerate((3, 4, 2, 5, 1, 40, 1), 1)]
    model.gate.release(100)
    assert [future.result(10) for future in futures] == [2, 4, 6, 8, 10, 12, 14]
    assert model.calls == [[0], [1, 2, 3], [4, 5], [6], [7]]  # 3 · 4 and 2 · 5 documents; the 6th goes alone


def test_size_one_joins_nothing(busy):
    model, batcher, _ = busy(size=1)
    futures = [batcher.submit(i, 3) for i in range(1, 4)]
    model.gate.release(100)
    assert [future.result(10) for future in futures] == [2, 4, 6]
    assert model.calls == [[0], [1], [2], [3]]


def test_an_item_that_is_to_be_alone_shares_no_call(busy):
    model, batcher, _ = busy()
    futures = [batcher.submit(i, alone=i == 2) for i in range(1, 5)]
    model.gate.release(100)
    assert [future.result(10) for future in futures] == [2, 4, 6, 8]
    assert model.calls == [[0], [1], [2], [3, 4]]


def test_requests_that_are_ready_on_an_event_loop_share_a_call():
    model = Model(free=True)
    batcher = Batcher(model, Batching())

    async def request(i):
        return await asyncio.wrap_future(batcher.submit(i))

    async def requests():
        return await asyncio.gather(*map(request, range(5)))

    assert asyncio.run(requests()) == [0, 2, 4, 6, 8]
    batcher.close()
    assert model.calls == [[0, 1, 2, 3, 4]]


def test_a_bad_item_fails_alone(busy):
    model, batcher, _ = busy()
    good, bad, also_good = (batcher.submit(item) for item in (1, "bad", 2))
    model.gate.release(100)
    assert (good.result(10), also_good.result(10)) == (2, 4)
    with pytest.raises(ValueError, match="bad"):
        bad.result(10)
    assert batcher.submit(3).result(10) == 6  # the thread lives on


def test_a_cancelled_item_is_not_computed(busy):
    model, batcher, _ = busy()
    kept, cancelled, also_kept = (batcher.submit(i) for i in (1, 2, 3))
    assert cancelled.cancel()
    model.gate.release(100)
    assert (kept.result(10), also_kept.result(10)) == (2, 6)
    assert [1, 3] in model.calls


def test_more_than_the_queue_holds_are_refused(busy):
    model, batcher, _ = busy(queue=2)
    waiting = [batcher.submit(i) for i in (1, 2)]
    with pytest.raises(Overloaded, match="2 requests wait"):
        batcher.submit(3)
    model.gate.release(100)
    assert [future.result(10) for future in waiting] == [2, 4]
    assert batcher.submit(3).result(10) == 6


def test_a_free_model_waits_for_more_where_it_is_told_to():
    model = Model(free=True)
    batcher = Batcher(model, Batching(wait=10_000.0, size=3))
    start = time.monotonic()
    futures = [batcher.submit(i) for i in range(4)]
    assert [future.result(10) for future in futures[:3]] == [0, 2, 4]
    assert time.monotonic() - start < 5  # a full call does not wait
    batcher.close()
    assert model.calls == [[0, 1, 2], [3]]


def test_closing_answers_what_waits_and_refuses_the_rest(busy):
    model, batcher, first = busy()
    waiting = batcher.submit(1)
    model.gate.release(100)
    batcher.close()
    assert (first.result(0), waiting.result(0)) == (0, 2)
    with pytest.raises(Overloaded):
        batcher.submit(2)
