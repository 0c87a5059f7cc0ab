"""Malformed and hostile requests, as the bytes that a client sends."""

import copy
import json
import random

from fake_service import request

METHODS = ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH", "PROPFIND", "BREW", "post", "")
PATHS = (
    *("/", "//", "/v1", "/v1/rank/", "/V1/RANK", "/v1/../etc/passwd", "/v1/%2e%2e/x", "/%00", "/v1/rank%0d%0aX: y"),
    *("*", "http://other/v1/rank", "v1/rank", "/v1/rank?x=%ff", "/v1/rank#x", "/\xff\xfe", "/v1/explain", "/v1/search"),
    *("/v1/embed", "/openapi.json?x", "/metrics/", "/docs", "/" + "a" * 40_000, "/{run}", "/v1/rank\x7f"),
)
TYPES = ("text/plain", "application/xml", "multipart/form-data; boundary=x", "application/json; charset=utf-16", "\xff")
LITERALS = (
    *("NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e-400", "-0", "00", "1.", ".5", "0x10", "1_000", "9" * 400),
    *("9" * 10_000, "-" + "9" * 30, "1" + "0" * 4_299, "3.5e38", "true", "null", '""', '"\\ud800"', '"\\udc00\\ud800"'),
    *(
        '"\\u0000"',
        '"' + "x" * 70_000 + '"',
        "{}",
        "[]",
        "[[]]",
        "[null]",
        "[1, NaN]",
        '{"a": 1}',
        "\\",
        "'x'",
        "undefined",
    ),
)
HEADERS = (
    {"Content_Length": "5"},
    {"Content_Length": "-1"},
    {"Content_Length": "1e3"},
    {"Content_Length": "9" * 30},
    {"Content_Length": ""},
    {"Transfer_Encoding": "chunked"},
    {"Transfer_Encoding": "gzip, chunked"},
    {"Transfer_Encoding": "identity"},
    {"Content_Encoding": "gzip"},
    {"Content_Encoding": "br"},
    {"Expect": "100-continue"},
    {"Expect": "200-ok"},
    {"Upgrade": "websocket", "Connection": "upgrade", "Sec_WebSocket_Key": "x"},
    {"Upgrade": "h2c", "Connection": "Upgrade, HTTP2-Settings"},
    {"Authorization": "Basic \xff"},
    {"X_Request_Id": "\xff" * 10},
    {"Host": "evil"},
    {"X": "a" * 100_000},
    {"Range": "bytes=0-1"},
    {"Cookie": "a=b; " * 1_000},
    {"X y": "z"},
    {"": "z"},
    {"X": "a\0b"},
    {"X": "a\rb"},
)
NOT_HTTP = (
    *(b"", b"\0", b"\r\n" * 50, b"GET", b"GET /\r\n\r\n", b"POST /v1/rank HTTP/1.1\r\n", b"HTTP/1.1 200 OK\r\n\r\n"),
    *(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/3.0\r\n\r\n"),
    *(b"SSH-2.0-x\r\n", b"POST /v1/rank HTTP/1.1\nContent-Length: 2\n\n{}", b"\xff" * 1_000, b"A" * 100_000),
)
BAD_CHUNKS = (
    b"zz\r\nx\r\n",
    b"-1\r\n",
    b"ffffffffffffffff1\r\n",
    b"2\r\nabc\r\n",
    b"1;" + b"a" * 70_000 + b"\r\nx\r\n0\r\n\r\n",
)


class Hostile:
    """Draws requests.

    Args:
        example: a request that the server answers.
        limit: the most bytes that it reads.
        seed: of the draws.
    """

    def __init__(self, example, limit, seed):
        self.example, self.limit, self.rng = example, limit, random.Random(seed)
        self.kinds = [name for name in dir(self) if name.startswith("make_")]

    def draw(self):
        """The kind of a request, its bytes, and whether the client closes its half of the connection."""
        kind = self.rng.choice(self.kinds)
        made = getattr(self, kind)()
        return kind.removeprefix("make_"), made, self.rng.random() < 0.05

    def body(self):
        return json.dumps(self.example).encode()

    def make_oversize(self):
        return request(body=b" " * (self.limit + self.rng.randint(1, 1_000)))

    def make_oversize_in_chunks(self):
        part = b" " * self.rng.choice((1_000, 10_000))
        chunks = (b"%x\r\n%b\r\n" % (len(part), part)) * (self.limit // len(part) + 2)
        return request(length=False, body=chunks + b"0\r\n\r\n", Transfer_Encoding="chunked")

    def make_literal(self):
        """Some value of the example is another literal."""
        marked = copy.deepcopy(self.example)
        holder, key = self.rng.choice(list(places(marked)))
        holder[key] = "@@"
        return request(body=json.dumps(marked).replace('"@@"', self.rng.choice(LITERALS)).encode())

    def make_other_value(self):
        """Some values of the example are others of the example."""
        mixed = copy.deepcopy(self.example)
        for _ in range(self.rng.randint(1, 4)):
            (holder, key), (other, name) = self.rng.choices(list(places(mixed)), k=2)
            holder[key] = copy.deepcopy(other[name])
        return request(body=json.dumps(mixed).encode())

    def make_unknown_name(self):
        changed = copy.deepcopy(self.example)
        holder = self.rng.choice([h for h, _ in places(changed) if isinstance(h, dict)])
        holder[self.rng.choice(("", "x" * 5_000, "\ud800", "id ", "__class__", "\0", "документ"))] = 1
        return request(body=json.dumps(changed).encode())

    def make_missing_name(self):
        changed = copy.deepcopy(self.example)
        holder, key = self.rng.choice(list(places(changed)))
        del holder[key]
        return request(body=json.dumps(changed).encode())

    def make_repeated_name(self):
        body = self.body()
        place = self.rng.choice([i for i, byte in enumerate(body) if byte == ord("{")])
        return request(body=body[: place + 1] + b'"id": 1, "id": 2, ' + body[place + 1 :])

    def make_deep(self):
        depth = self.rng.choice((17, 100, 1_000, 100_000))
        opened, closed = self.rng.choice(((b"[", b"]"), (b'{"queries":', b"}"), (b'[{"a":', b"}]")))
        inner = self.rng.choice((b"1", b"", b'"]]]]"'))
        return request(body=(opened * depth + inner + closed * self.rng.choice((depth, 0)))[: self.limit])

    def make_damaged_text(self):
        """Bytes of the example are others: bad UTF-8, missing quotes, and the like."""
        body = bytearray(self.body())
        for _ in range(self.rng.randint(1, 5)):
            body[self.rng.randrange(len(body))] = self.rng.randrange(256)
        return request(body=bytes(body))

    def make_cut_text(self):
        body = self.body()
        return request(body=body[: self.rng.randrange(len(body))] + self.rng.choice((b"", b"}", b"\0", b"]}")))

    def make_other_encoding(self):
        return request(
            body=json.dumps(self.example).encode(self.rng.choice(("utf-16", "utf-32", "utf-8-sig", "utf-7")))
        )

    def make_random_bytes(self):
        return request(body=self.rng.randbytes(self.rng.randrange(2_000)))

    def make_many(self):
        """More documents or queries than allowed, or none."""
        query = self.example["queries"][0]
        number = self.rng.choice((0, 65, 1_001))
        documents = {**query, "documents": query["documents"][:1] * number}
        return request(body=json.dumps(self.rng.choice(({"queries": [query] * number}, documents))).encode())

    def make_method(self):
        return request(method=self.rng.choice(METHODS), path=self.rng.choice(("/v1/rank", "/healthz", "/nope")))

    def make_path(self):
        return request(method=self.rng.choice(("GET", "POST")), path=self.rng.choice(PATHS), body=self.body())

    def make_content_type(self):
        return request(body=b"<x/>", Content_Type=self.rng.choice(TYPES))

    def make_headers(self):
        return request(body=self.body(), **self.rng.choice(HEADERS))

    def make_header_flood(self):
        return request(**{f"X-{n}": "y" * self.rng.choice((1, 50)) for n in range(self.rng.choice((200, 5_000)))})

    def make_not_http(self):
        return self.rng.choice(NOT_HTTP)

    def make_bad_chunks(self):
        return request(length=False, body=self.rng.choice(BAD_CHUNKS), Transfer_Encoding="chunked")

    def make_cut_request(self):
        whole = request(body=self.body())
        return whole[: self.rng.randrange(len(whole))]

    def make_damaged_request(self):
        whole = bytearray(request(body=self.body()))
        for _ in range(self.rng.randint(1, 4)):
            whole[self.rng.randrange(min(len(whole), 120))] = self.rng.randrange(256)
        return bytes(whole)

    def make_several(self):
        """Requests that follow each other without waiting, the last one damaged."""
        return request(body=self.body(), close=False) * self.rng.randint(1, 5) + self.make_damaged_request()


def places(node):
    """Every (list or dict, index or name) within a JSON value."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in list(pairs):
        yield node, key
        yield from places(value)
