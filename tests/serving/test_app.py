"""What a client reads: answers, one line for each error, and none for a client that is gone."""

import asyncio
import json
import re
import threading
import time
from concurrent.futures import Future
from pathlib import Path

import jsonschema
import pytest
from starlette.testclient import TestClient

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.serving.answers import EmbedAnswer
from ml4ir_losses.serving.app import make_app
from ml4ir_losses.serving.batcher import Batcher
from ml4ir_losses.serving.columns import typed
from ml4ir_losses.serving.current import Current
from ml4ir_losses.serving.operation import Operation, Pending
from ml4ir_losses.serving.reading import Reader, known_names
from ml4ir_losses.serving.service import Service
from ml4ir_losses.serving.settings import Batching, Limits

SERVED = {"run": "made up", "version": "0123456789ab"}


class Lengths:
    """A service that embeds texts as their lengths, once it is let go; the text "bad" makes it fail."""

    def __init__(self, **limits):
        self.gate, self.asked = threading.Event(), []
        self.limits = Limits(**limits)
        batcher = Batcher(self.call, Batching(queue=2))
        type_ = typed("EmbedRequest", {"texts": list[str]})
        self.read = Reader({"texts": type_}, len, known_names(["texts"]), self.limits.depth)
        example = {"texts": ["one", "seven"]}
        operation = Operation(self.start, (type_,), EmbedAnswer, example, "Lengths.")
        folder = Path("run")
        self.service = Service(folder, *SERVED.values(), "embedding", {"embed": operation}, {}, self.limits, batcher)

    def start(self, body):
        texts = self.read(body)["texts"]
        parts = [self.service.batcher.submit(text) for text in texts]
        return Pending(parts, lambda lengths: {**SERVED, "embeddings": [[n] for n in lengths]}, documents=len(texts))

    def call(self, texts):
        assert self.gate.wait(10)
        self.asked += texts
        if "bad" in texts:
            raise ZeroDivisionError("a secret")
        return [float(len(text)) for text in texts]

    def busy(self):
        """The future of a first text, with which the model is busy until it is let go."""
        future = self.service.batcher.submit("busy")
        while self.service.batcher.waiting:
            time.sleep(0.001)
        return future

    def app(self):
        return make_app(Current(self.service), self.limits)


@pytest.fixture
def serving():
    """Makes a `Lengths` and its client, and lets it go in the end."""
    made = []

    def make(free=True, **limits):
        lengths = Lengths(**limits)
        made.append(lengths)
        if free:
            lengths.gate.set()
        return lengths, TestClient(lengths.app(), raise_server_exceptions=False)

    yield make
    for lengths in made:
        lengths.gate.set()
        lengths.service.close()


def test_an_answer_names_the_run_and_its_version(serving):
    _, client = serving()
    answer = client.post("/v1/embed", json={"texts": ["a", "bcd"]})
    assert (answer.status_code, answer.json()) == (200, {**SERVED, "embeddings": [[1.0], [3.0]]})
    assert client.get("/v1/model").json()["operations"] == ["embed"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("GET", "/nothing", b"", 404, "Not Found"),
        ("GET", "/v1/embed", b"", 405, "Method Not Allowed"),
        ("POST", "/v1/rank", b"{}", 404, "the run 'made up' is of kind embedding; it offers embed."),
        ("POST", "/v1/embed", b"{", 400, "the body is not JSON: EOF while parsing an object at line 1 column 1"),
        ("POST", "/v1/embed", b"{}", 422, "texts: is missing."),
        ("POST", "/v1/embed", b'{"texts": ["a", 1]}', 422, "texts[1]: must be a text. Received: 1."),
        ("POST", "/v1/embed", b'{"texts": ["bad"]}', 500, "the server failed; its log says why."),
    ],
)
def test_an_error_is_one_line(serving, method, path, body, status, message):
    _, client = serving()
    answer = client.request(method, path, content=body)
    assert (answer.status_code, answer.json()) == (status, {"error": message})


def test_a_large_body_is_answered_too(serving):
    _, client = serving()
    text = "x" * (300 << 10)
    assert client.post("/v1/embed", json={"texts": [text]}).json()["embeddings"] == [[300 << 10]]


def test_an_answer_that_takes_too_long_is_an_error_and_what_waits_is_not_computed(serving):
    lengths, client = serving(free=False, seconds=0.2)
    first = lengths.busy()
    start = time.monotonic()
    answer = client.post("/v1/embed", json={"texts": ["late"]})
    assert (answer.status_code, answer.json()) == (503, {"error": "there is no answer within 0.2 seconds; try again."})
    assert time.monotonic() - start < 5
    lengths.gate.set()
    first.result(10)
    lengths.service.close()
    assert lengths.asked == ["busy"]


def test_a_full_queue_says_when_to_try_again(serving):
    lengths, client = serving(free=False)
    futures = [lengths.busy(), *(lengths.service.batcher.submit(text) for text in "ab")]
    answer = client.post("/v1/embed", json={"texts": ["c"]})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "2 requests wait for the model" in answer.json()["error"]
    lengths.gate.set()
    assert [future.result(10) for future in futures] == [4.0, 1.0, 1.0]


def test_a_request_whose_client_is_gone_is_not_computed(serving):
    lengths, _ = serving(free=False)
    first = lengths.busy()
    body, sent = [{"type": "http.request", "body": b'{"texts": ["gone"]}', "more_body": False}], []
    scope = {"type": "http", "method": "POST", "path": "/v1/embed", "raw_path": b"/v1/embed", "query_string": b""}

    async def receive():
        return body.pop() if body else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    asyncio.run(lengths.app()({**scope, "headers": [], "http_version": "1.1", "state": {}}, receive, send))
    assert sent[0]["status"] == 499
    lengths.gate.set()
    first.result(10)
    lengths.service.close()
    assert lengths.asked == ["busy"]


def test_the_openapi_page_describes_requests_and_answers_exactly(serving):
    _, client = serving()
    page = client.get("/openapi.json").json()
    post = page["paths"]["/v1/embed"]["post"]
    content = post["requestBody"]["content"]["application/json"]

    def check(value, schema):
        jsonschema.validate(value, {**schema, "components": page["components"]})

    def answered(status):
        return post["responses"][status]["content"]["application/json"]["schema"]

    check(content["example"], content["schema"])
    check(client.post("/v1/embed", json=content["example"]).json(), answered("200"))
    check(client.post("/v1/embed", json={}).json(), answered("422"))
    model = page["paths"]["/v1/model"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    check(client.get("/v1/model").json(), model)
    with pytest.raises(jsonschema.ValidationError):
        check({**SERVED, "embeddings": [], "more": 1}, answered("200"))
    with pytest.raises(jsonschema.ValidationError):
        check({"texts": [], "more": 1}, content["schema"])


def test_an_error_while_others_of_a_request_succeed_fails_the_request(serving):
    lengths, _ = serving()
    broken = Future()
    broken.set_exception(UserError("this part cannot be computed."))

    def start(body):
        return Pending([lengths.service.batcher.submit("a"), broken], lambda results: {})

    operation = Operation(start, (), EmbedAnswer, {}, "")
    service = Service(Path("run"), *SERVED.values(), "embedding", {"embed": operation}, {}, Limits(), broken)
    client = TestClient(make_app(Current(service), Limits()))
    answer = client.post("/v1/embed", content=json.dumps({"texts": []}))
    assert (answer.status_code, answer.json()) == (422, {"error": "this part cannot be computed."})


def test_the_page_loads_nothing_from_elsewhere_and_runs_its_own_files_alone(serving):
    _, client = serving()
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in policy
    assert not re.search(r"https?://|<style|style=|\son\w+=|<script>", page.text)
    files = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert sorted(files) == ["openapi.json", "page.css", "page.js"]
    assert all(client.get(f"/{name}").status_code == 200 for name in files)
    assert "innerHTML" not in client.get("/page.js").text
