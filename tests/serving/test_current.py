"""The current service: replaced without a lost request, closed once, when nobody uses it."""

import threading
import time

import pytest
from fake_service import FakeService, wait_until

from ml4ir_losses.serving.current import Current
from ml4ir_losses.serving.errors import Overloaded


def test_replaced_service_closes_after_its_last_request():
    first, second = FakeService("1"), FakeService("2")
    released = []
    current = Current(first, lambda: released.append(current.version))
    with current.use() as used:
        current.replace(second)
        assert used is first
        with current.use() as newer:
            assert newer is second
        assert not first.is_closed
    wait_until(lambda: released == ["2"])
    assert first.is_closed
    assert not second.is_closed


def test_requests_without_a_service_are_told_to_try_again():
    current = Current()
    assert (current.ready, current.version) == (False, None)
    with pytest.raises(Overloaded, match="being loaded"), current.use():
        pass
    current.replace(FakeService("1"))
    assert (current.ready, current.version) == (True, "1")
    current.stop()
    assert not current.ready
    with current.use() as service:  # until it is closed
        assert current.close(timeout=0.01) is False
        assert not service.is_closed
    assert current.close(timeout=5) is True
    assert service.is_closed
    with pytest.raises(Overloaded, match="server stops"), current.use():
        pass
    with pytest.raises(Overloaded):
        current.replace(FakeService("2"))


def test_service_is_let_go_when_a_request_fails():
    current = Current(first := FakeService("1"))
    with pytest.raises(ZeroDivisionError), current.use():
        raise ZeroDivisionError
    current.replace(FakeService("2"))
    wait_until(lambda: first.is_closed)


def test_no_request_gets_a_closed_service_while_services_are_replaced():
    services = [FakeService(str(n)) for n in range(200)]
    current, wrong, ended = Current(services[0]), [], threading.Event()

    def ask():
        while not ended.is_set():
            with current.use() as service:
                time.sleep(0)
                if service.is_closed:
                    wrong.append(service.version)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for service in services[1:]:
        current.replace(service)
    ended.set()
    for thread in threads:
        thread.join()
    assert current.close(timeout=10)
    assert not wrong
    assert all(service.is_closed for service in services)
