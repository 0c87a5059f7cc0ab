"""A run that changed replaces the one that is served; one that cannot be served does not."""

import os
import threading
import time

import pytest
from fake_service import FakeService, Running, json_of, load_fake, request, status_of, wait_until, write_fake

from ml4ir_losses.serving.current import Current
from ml4ir_losses.serving.metrics import Metrics
from ml4ir_losses.serving.reloading import Reloader


@pytest.fixture
def run(tmp_path):
    return write_fake(tmp_path / "run", "v1")


@pytest.fixture
def reloader(run):
    current = Current()
    reloader = Reloader(run, load_fake, current, Metrics(current), watch=0.01)
    reloader.start(failed=lambda: None)
    wait_until(lambda: current.ready)
    yield reloader
    reloader.stop(5)
    current.close(5)


def results(reloader):
    """The number of reloads by result."""
    lines = reloader.metrics.text().decode().splitlines()
    return {
        r: float(next(li for li in lines if f'reloads_total{{result="{r}"' in li).split()[-1])
        for r in ("replaced", "failed")
    }


def test_changed_run_replaces_the_service(reloader, run):
    first = reloader.current.service
    write_fake(run, "v2")
    wait_until(lambda: reloader.current.version == "v2")
    wait_until(lambda: first.is_closed)
    wait_until(lambda: results(reloader) == {"replaced": 1, "failed": 0})


def test_run_is_loaded_again_when_asked(reloader):
    first = reloader.current.service
    reloader.request()
    wait_until(lambda: reloader.current.service is not first)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": "embedding"}, "is now a run of kind embedding, was ranking"),
        ({"columns": {"price": "number", "brand": "category"}}, "reads other columns than before: brand;"),
        ({"columns": {"price": "text"}}, "reads other columns than before: price;"),
        ({"finite": False}, "no finite scores"),
        ({"unknown": 1}, "TypeError"),
    ],
)
def test_run_that_cannot_be_served_keeps_the_service(reloader, run, change, reason, caplog):
    first = reloader.current.service
    write_fake(run, "v2", **change)
    wait_until(lambda: results(reloader)["failed"] == 1)
    assert reloader.current.service is first
    assert not first.is_closed
    (line,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert line.getMessage() == "the run was not reloaded"
    assert reason in line.fields["reason"]
    assert "\n" not in line.fields["reason"]
    time.sleep(0.1)
    assert results(reloader)["failed"] == 1  # it is tried once
    write_fake(run, "v3")
    wait_until(lambda: reloader.current.version == "v3")


@pytest.mark.parametrize("damage", ["truncated", "removed", "no folder"])
def test_damaged_run_keeps_the_service(reloader, run, damage):
    if damage == "truncated":
        os.truncate(run / "model.keras", 5)
    elif damage == "removed":
        (run / "model.keras").unlink()
    else:
        run.rename(run.with_name("elsewhere"))
    wait_until(lambda: results(reloader)["failed"] == 1)
    assert reloader.current.version == "v1"
    run.exists() or run.with_name("elsewhere").rename(run)
    write_fake(run, "v2")
    wait_until(lambda: reloader.current.version == "v2")


def test_link_to_another_run_is_followed(tmp_path):
    for version in ("v1", "v2"):
        write_fake(tmp_path / version, version)
    link = tmp_path / "live"
    link.symlink_to(tmp_path / "v1")
    current = Current()
    reloader = Reloader(link, load_fake, current, Metrics(current), watch=0.01)
    reloader.start(failed=lambda: None)
    wait_until(lambda: current.version == "v1")
    (tmp_path / "new").symlink_to(tmp_path / "v2")
    (tmp_path / "new").replace(link)
    wait_until(lambda: current.version == "v2")
    reloader.stop(5)


def test_files_that_change_while_they_are_read_are_read_again(run):
    loads = []

    def load(folder):
        service = load_fake(folder)
        loads.append(service)
        if len(loads) == 2:
            write_fake(run, "v3")  # `service` is of v2
        return service

    current = Current()
    reloader = Reloader(run, load, current, Metrics(current), watch=0.01)
    reloader.start(failed=lambda: None)
    wait_until(lambda: current.ready)
    write_fake(run, "v2")
    wait_until(lambda: current.version == "v3")
    assert [service.version for service in loads] == ["v1", "v2", "v3"]
    assert loads[1].is_closed
    reloader.stop(5)


def test_first_run_that_cannot_be_served_stops_the_server(tmp_path):
    server = Running(write_fake(tmp_path / "run", "v1", finite=False))
    server.thread.start()
    server.thread.join(10)
    assert str(server.failure) == "the model gives no finite scores."


def test_server_answers_probes_while_it_loads(run):
    allowed = threading.Event()

    def load(folder):
        allowed.wait(10)
        return load_fake(folder)

    server = Running(run, load=load)
    server.thread.start()
    wait_until(lambda: server.server.started)
    probes = [request(method="GET", path=path, body=b"") for path in ("/healthz", "/readyz", "/metrics")]
    assert [status_of(server.send(probe)) for probe in probes] == [200, 503, 200]
    answer = server.send(request())
    assert status_of(answer) == 503
    assert b"retry-after: 1" in answer.lower()
    assert json_of(answer) == {"error": "the model is being loaded; try again."}
    allowed.set()
    wait_until(lambda: status_of(server.send(probes[1])) == 200)
    assert json_of(server.send(request()))["version"] == "v1"
    server.__exit__()


@pytest.mark.parametrize("reloads", [30, pytest.param(1_000, marks=pytest.mark.slow)])
def test_no_request_is_lost_while_the_run_is_replaced(run, reloads):
    """Clients ask without pause; every answer is whole, and the versions follow each other."""
    answers, ended = [], threading.Event()
    with Running(run) as server:

        def ask():
            while not ended.is_set():
                answers.append(server.send(request(path="/v1/rank?seconds=0.002")))

        clients = [threading.Thread(target=ask) for _ in range(4)]
        for client in clients:
            client.start()
        for n in range(reloads):
            write_fake(run, f"v{n}")
            assert server.server.reloader.reload()
        ended.set()
        for client in clients:
            client.join()
    assert {status_of(answer) for answer in answers} == {200}
    assert len({json_of(answer)["version"] for answer in answers}) > reloads / 10


def test_service_of_a_failed_reload_is_closed(run):
    made = []

    def load(folder):
        made.append(FakeService("v", finite=len(made) == 0))
        return made[-1]

    current = Current()
    reloader = Reloader(run, load, current, Metrics(current))
    reloader.start(failed=lambda: None)
    wait_until(lambda: current.ready)
    assert reloader.reload() is False
    assert [service.is_closed for service in made] == [False, True]
    reloader.stop(5)
