"""What a server refuses before any route sees it, and what it tells client and log."""

import base64
import socket
import time
from contextlib import suppress

import pytest
from fake_service import Running, json_of, read_all, read_one, request, status_of, wait_until, write_fake

KEY = "a-key-of-the-tests"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    run = write_fake(tmp_path_factory.mktemp("guard") / "run", "v1")
    with Running(run, bytes=1000, seconds=0.3, head=2000, connections=20) as server:
        yield server


def chunks(*parts):
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def chunked(body):
    return request(length=False, body=body, Transfer_Encoding="chunked")


def test_body_of_the_largest_size_is_read(server):
    assert json_of(server.send(request(body=b"x" * 1000))) == {"version": "v1", "bytes": 1000}
    assert b'"bytes":1000' in server.send(chunked(chunks(b"x" * 400, b"y" * 600)))


@pytest.mark.parametrize(
    "data",
    [
        request(body=b"x" * 1001),
        chunked(chunks(b"x" * 600, b"y" * 401)),
        chunked(chunks(*[b"x"] * 1001)),
        request(length=False, Content_Length="99999999999999999999"),
    ],
    ids=["length", "chunks", "small chunks", "claimed"],
)
def test_larger_body_is_refused(server, data):
    answer = server.send(data)
    assert status_of(answer) in (413, 400)
    assert "error" in json_of(answer)


def test_upload_after_a_refusal_ends_the_connection(server):
    start = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(request(length=False, close=False, Content_Length="1000000"))
        assert status_of(read_one(connection)) == 413
        with suppress(OSError):
            while time.monotonic() < start + 8:
                connection.sendall(b"x")
                time.sleep(0.05)
    assert time.monotonic() < start + 6


@pytest.mark.parametrize("chunk", [False, True])
def test_slow_body_is_refused(server, chunk):
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(
            request(length=False, body=b"", Transfer_Encoding="chunked")
            if chunk
            else request(length=False, Content_Length="100")
        )
        for _ in range(6):
            time.sleep(0.1)
            connection.sendall(b"1\r\nx\r\n" if chunk else b"x")
        answer = read_all(connection)
    assert status_of(answer) == 408
    assert "within 0.3 seconds" in json_of(answer)["error"]


@pytest.mark.parametrize("start", [b"POST /v1/rank HT", b"\r\n"])
def test_slow_head_is_refused(server, start):
    begin = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(start)
        assert status_of(read_all(connection)) == 408
    assert time.monotonic() < begin + 4


def test_silent_connection_is_closed(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        assert connection.recv(1) == b""


def test_slow_head_after_an_answer_is_refused(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(request(close=False))
        read_one(connection)
        connection.sendall(b"POST")
        assert status_of(read_all(connection)) == 408


@pytest.mark.parametrize(
    "data",
    [
        request(X="a" * 3000),
        request(path="/" + "a" * 3000),
        request(**{f"h{i}": "x" * 10 for i in range(300)}),
        b"GET / HTTP/1.1\r\nX: " + b"a" * 400_000,
        b"GET /" + b"a" * 400_000,
    ],
    ids=["header", "path", "headers", "endless header", "endless path"],
)
def test_large_head_is_refused(server, data):
    answer = server.send(data)
    assert status_of(answer) == 431
    assert json_of(answer)["error"] == "the head of the request has more than 2,000 bytes."


def test_trailers_and_chunk_extensions_do_not_fill_memory(server):
    for end in (b"1;" + b"a" * 400_000, b"0\r\nT: " + b"a" * 400_000):
        assert status_of(server.send(request(length=False, body=end, Transfer_Encoding="chunked"), wait=4)) in (
            408,
            None,
        )


@pytest.mark.parametrize("data", [b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\0" * 100])
def test_what_is_not_http_is_refused_as_json(server, data):
    answer = server.send(data)
    assert status_of(answer) == 400
    assert json_of(answer) == {"error": "the request is not HTTP."}


def test_requests_before_a_damaged_one_are_answered(server):
    answer = server.send(request(body=b"x" * 10, close=False) * 2 + b"\0\0\0\r\n\r\n")
    assert answer.count(b'"bytes":10}') == 2


@pytest.mark.parametrize("chunk", [b"zz\r\nx\r\n", b"-1\r\n", b"2\r\nabc\r\n"])
def test_damaged_chunk_is_refused_as_json(server, chunk):
    answer = server.send(request(length=False, body=b"1\r\nx\r\n" + chunk, Transfer_Encoding="chunked"))
    assert status_of(answer) == 400
    assert json_of(answer) == {"error": "the request is not HTTP."}
    wait_until(lambda: server.requests()[-1]["status"] == 499)


def test_compressed_body_is_refused(server):
    answer = server.send(request(Content_Encoding="gzip"))
    assert status_of(answer) == 415
    assert "compressed" in json_of(answer)["error"]


def test_more_connections_than_allowed_are_refused(server):
    open_ones = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(20)]
    try:
        for connection in open_ones:
            connection.sendall(request(path="/v1/rank?seconds=0.3"))
        answer = server.send(b"")
        assert status_of(answer) == 503
        assert all(status_of(read_all(connection)) == 200 for connection in open_ones)
    finally:
        for connection in open_ones:
            connection.close()


def test_client_that_reads_nothing_is_dropped(server):
    """What it does not read fills the buffers of the system, then those of the server."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection, suppress(ConnectionError):
        end = time.monotonic() + 20
        while time.monotonic() < end:
            connection.sendall(request(method="GET", path="/metrics", close=False, body=b"") * 20)
            time.sleep(0.01)
    assert time.monotonic() < end


def test_endless_requests_before_an_answer_are_dropped(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection, suppress(ConnectionError):
        connection.sendall(request(path="/v1/rank?seconds=0.3", close=False) * 1_000)
        assert connection.recv(1 << 16) == b""


def test_requests_that_follow_each_other_are_answered_in_order(server):
    several = [request(body=b"x" * size, close=size == 30) for size in (10, 20, 30)]
    answer = server.send(b"".join(several))
    assert [part[:2] for part in answer.split(b'"bytes":')[1:]] == [b"10", b"20", b"30"]


def test_exception_is_in_the_log_alone(server):
    answer = server.send(request(method="GET", path="/fails", body=b"", X_Request_Id="of-the-client"))
    assert status_of(answer) == 500
    assert json_of(answer) == {"error": "internal error", "id": "of-the-client"}
    failed = [line for line in server.lines if line["level"] == "error" and line.get("id") == "of-the-client"]
    assert len(failed) == 1
    assert "RuntimeError: secret of the house" in failed[0]["trace"]


def test_log_has_a_line_per_request(server):
    answer = server.send(request(path="/v1/rank?key=secret", X_Request_Id="first", body=b"secret"))
    assert b"x-request-id: first\r\n" in answer
    (line,) = [line for line in server.requests() if line["id"] == "first"]
    assert line.pop("milliseconds") >= 0
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info",
        "message": "request",
        "id": "first",
        "route": "/v1/rank",
        "status": 200,
        "queries": None,
        "documents": None,
        "version": "v1",
    }


@pytest.mark.parametrize("given", ["a b", "a" * 65, 'x"y', ""])
def test_request_id_of_other_characters_is_replaced(server, given):
    answer = server.send(request(X_Request_Id=given))
    request_id = answer.partition(b"x-request-id: ")[2].partition(b"\r\n")[0].decode()
    assert len(request_id) == 32
    assert request_id in [line["id"] for line in server.requests()]


def test_metrics_count_answers_by_route_and_status(server):
    def page():
        return server.send(request(method="GET", path="/metrics", body=b"")).decode()

    def value(text, name):
        return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(name + " ")), 0.0)

    counted = 'ml4ir_losses_requests_total{route="none",status="404"}'
    before = value(page(), counted)
    server.send(request(path="/no/such/route"))
    after = page()
    assert value(after, counted) == before + 1
    assert 'model_info{version="v1"} 1.0' in after
    assert value(after, 'ml4ir_losses_request_seconds_count{route="/v1/rank"}') > 0
    assert value(after, 'ml4ir_losses_reloads_total{result="failed"}') == 0
    assert "/no/such/route" not in after
    wait_until(lambda: value(page(), "ml4ir_losses_requests_in_flight") == 1)  # what other tests left ends, too


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    run = write_fake(tmp_path_factory.mktemp("locked") / "run", "v1")
    with Running(run, key=KEY) as server:
        yield server


@pytest.mark.parametrize(
    "given", [f"Bearer {KEY}", f"bearer  {KEY}", "Basic " + base64.b64encode(f"me:{KEY}".encode()).decode()]
)
def test_key_is_taken_as_bearer_token_or_password(locked, given):
    assert status_of(locked.send(request(Authorization=given))) == 200


@pytest.mark.parametrize(
    "given", ["", "Bearer", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", KEY, "Basic !!", "Basic YTpi", "Bearer \xff"]
)
def test_request_with_another_key_is_refused(locked, given):
    answer = locked.send(request(Authorization=given))
    assert status_of(answer) == 401
    assert json_of(answer) == {"error": "this server needs an API key."}
    assert KEY not in locked.log.getvalue()


@pytest.mark.parametrize(
    ("path", "status"), [("/healthz", 200), ("/readyz", 200), ("/metrics", 401), ("/healthz/", 401)]
)
def test_probes_need_no_key(locked, path, status):
    assert status_of(locked.send(request(method="GET", path=path, body=b""))) == status
