"""Malformed and hostile requests to a server of a real run: it refuses them, lives, and answers the next one."""

import json
import os
import re
import shutil
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import runs
from fake_service import Running, json_of, read_all, request, status_of
from hostile import Hostile
from hypothesis import HealthCheck, given, settings

from ml4ir_losses.core.checksums import write_checksums
from ml4ir_losses.serving.app import make_app
from ml4ir_losses.serving.service import load_service
from ml4ir_losses.serving.settings import Limits

LIMIT = 200_000
SECONDS = 0.5

pytestmark = pytest.mark.backend("tensorflow")


@pytest.fixture(scope="module")
def server(tmp_path_factory, eager):
    with eager():
        run = runs.feature_run(tmp_path_factory.mktemp("shop"))
    patient = replace(Limits(), bytes=LIMIT, seconds=60.0)  # for answers: other work may slow the model down

    def load(folder):
        return load_service(folder, patient)

    def app(current, limits):
        return make_app(current, patient)

    with Running(run, load=load, make_app=app, bytes=LIMIT, seconds=SECONDS) as server:
        yield server


@pytest.fixture(scope="module")
def example(server):
    page = json_of(server.send(request(method="GET", path="/openapi.json", body=b"")))
    return page["paths"]["/v1/rank"]["post"]["requestBody"]["content"]["application/json"]["example"]


def statuses(answer):
    """The statuses of the answers on a connection."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


def assert_sound(answer, data):
    """No 5xx, and one line of JSON for each refusal."""
    for part in re.split(rb"(?=HTTP/1\.1 \d{3} )", answer)[1:]:
        status = status_of(part)
        assert 100 <= status < 500, (part[:300], data[:300])
        assert b"Traceback" not in part
        if status >= 400 and b"content-length: 0" not in part and not data.startswith(b"HEAD"):
            error = json_of(part)["error"]
            assert isinstance(error, str), part
            assert "\n" not in error, part


def test_metrics_show_the_calls_of_the_model(server, example):
    def value(name):
        page = server.send(request(method="GET", path="/metrics", body=b"")).decode()
        return float(re.search(rf"^ml4ir_losses_{name} (\S+)\r?$", page, re.M)[1])

    names = ("batch_queries_sum", "batch_documents_sum", "batch_queries_count")
    before = [value(name) for name in names]
    query = {**example["queries"][0], "documents": example["queries"][0]["documents"][:1]}
    answer = server.send(request(body=json.dumps({"queries": [query] * 3}).encode()))
    assert status_of(answer) == 200, answer
    queries, documents, calls = (value(name) - one for name, one in zip(names, before, strict=True))
    assert (queries, documents) == (3, 3)
    assert 1 <= calls <= 3
    assert value("queue_length") == 0
    line = [line for line in server.requests() if line["route"] == "/v1/rank"][-1]
    assert (line["route"], line["queries"], line["documents"]) == ("/v1/rank", 3, 3)


@pytest.mark.parametrize("number", [400, pytest.param(10_000, marks=pytest.mark.slow)])
def test_hostile_requests_are_refused(server, example, number):
    hostile = Hostile(example, LIMIT, seed=number)
    found = Counter()

    def send(drawn):
        kind, data, half_close = drawn
        answer = server.send(data, half_close=half_close)
        assert_sound(answer, data)
        return kind, tuple(statuses(answer)) or ("closed",)

    with ThreadPoolExecutor(8) as pool:
        for kind, answered in pool.map(send, (hostile.draw() for _ in range(number))):
            found[kind, answered[0]] += 1
    print("\n".join(f"{kind}: {status}: {count}" for (kind, status), count in sorted(found.items(), key=str)))
    refused = sum(count for (_, status), count in found.items() if status != "closed" and status >= 400)
    assert refused > number / 2
    assert status_of(server.send(request(body=json.dumps(example).encode()))) == 200
    assert not [line for line in server.lines if line["level"] == "error" and "trace" in line]


@pytest.mark.parametrize("mode", ["positive", "negative"])
@pytest.mark.parametrize("examples", [10, pytest.param(200, marks=pytest.mark.slow)])
def test_answers_are_those_of_the_openapi_page(server, mode, examples):
    """Schemathesis draws requests that fit the page, and such as do not; it knows status and schema of answers."""
    schemathesis = pytest.importorskip("schemathesis")
    from schemathesis.specs.openapi import checks

    conformance = [
        schemathesis.checks.not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
    ]
    url = f"http://127.0.0.1:{server.port}"
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    draw = settings(max_examples=examples, suppress_health_check=list(HealthCheck))
    for operation in (found.ok() for found in schema.get_all_operations()):
        if operation.method == "get":
            operation.Case().call_and_validate(base_url=url, checks=conformance)
        else:

            @draw
            @given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode(mode)))
            def check(case):
                case.call_and_validate(base_url=url, checks=conformance)

            check()


def test_slow_clients_hold_up_nobody(server, example):
    body = json.dumps(example).encode()
    slow = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(50)]
    for n, connection in enumerate(slow):
        connection.sendall(request(body=body)[: 20 if n % 2 else -20])
    start = time.monotonic()
    assert status_of(server.send(request(body=body))) == 200
    assert time.monotonic() < start + SECONDS
    answers = [read_all(connection) for connection in slow]
    for connection in slow:
        connection.close()
    assert {status_of(answer) for answer in answers} == {408}


def damaged_archive(folder):
    """A model whose checksum is right, and whose weights are cut."""
    model = folder / "model.keras"
    model.write_bytes(model.read_bytes()[:-500])
    write_checksums(folder)


DAMAGES = {
    "truncated": lambda folder: os.truncate(folder / "model.keras", 10_000),
    "empty": lambda folder: (folder / "model.keras").write_bytes(b""),
    "other bytes": lambda folder: (folder / "model.keras").write_bytes(b"model" * 9_000),
    "no model": lambda folder: (folder / "model.keras").unlink(),
    "no config": lambda folder: (folder / "config.yaml").unlink(),
    "another config": lambda folder: (folder / "config.yaml").write_text("name: [x"),
    "another record": lambda folder: (folder / "files.json").write_text(
        (folder / "files.json").read_text().replace('sha256": "', 'sha256": "0')
    ),
    "cut record": lambda folder: os.truncate(folder / "files.json", 50),
    "cut archive": damaged_archive,
    "folder": lambda folder: ((folder / "model.keras").unlink(), (folder / "model.keras").mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_run_keeps_the_old_one_serving(server, example, damage, tmp_path):
    reloader = server.server.reloader
    before, run = reloader.current.service, reloader.run
    shutil.copytree(run, tmp_path / "run")
    DAMAGES[damage](tmp_path / "run")
    reloader.run = tmp_path / "run"
    try:
        assert reloader.reload() is False
    finally:
        reloader.run = run
    failed = [line for line in server.lines if line["message"] == "the run was not reloaded"][-1]
    assert failed["reason"].startswith(f"{tmp_path}/run")
    assert "\n" not in failed["reason"]
    assert reloader.current.service is before
    assert status_of(server.send(request(body=json.dumps(example).encode()))) == 200
