"""The processes of `serving.py`: each answers a line of JSON, a task, with a line of measurements.

python benchmarks/serving_worker.py KIND ARGUMENT...
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np


def figures(latencies: list[float], seconds: float) -> dict[str, float]:
    """Percentiles in milliseconds, and the number per second."""
    p50, p99 = np.percentile(latencies, [50, 99]) * 1e3
    return {"p50": float(p50), "p99": float(p99), "rate": len(latencies) / seconds}


def repeated(call: Callable[[Any], Any], inputs: Iterator[Any], seconds: float) -> dict[str, float]:
    """One call after another for some seconds."""
    latencies, start = [], time.perf_counter()
    while (now := time.perf_counter()) - start < seconds:
        call(next(inputs))
        latencies.append(time.perf_counter() - now)
    return figures(latencies, time.perf_counter() - start)


class Client(asyncio.Protocol):
    """A connection that sends its next request once it has the answer to the last one."""

    def __init__(self, requests: Iterator[bytes], latencies: list[float], until: float) -> None:
        self.requests, self.latencies, self.until = requests, latencies, until
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        """Sends the next request, or closes when the time is over."""
        if time.perf_counter() > self.until:
            self.transport.close()
            return
        self.received, self.size = b"", None
        self.start = time.perf_counter()
        self.transport.write(next(self.requests))

    def data_received(self, data: bytes) -> None:
        self.received += data
        if self.size is None and b"\r\n\r\n" in self.received:
            head, _, _ = self.received.partition(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                self.done.set_exception(SystemExit(self.received[:300].decode()))
                self.transport.close()
                return
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            self.size = len(head) + 4 + int(length.partition(b":")[2])
        if self.size is not None and len(self.received) >= self.size:
            self.latencies.append(time.perf_counter() - self.start)
            self.send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


def client(folder: str) -> Callable[[dict[str, Any]], dict[str, float]]:
    """Clients of a server on this machine."""
    bodies = (Path(folder) / "requests.jsonl").read_bytes().splitlines()
    head = b"POST /v1/rank HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    requests = cycle([head % len(body) + body for body in bodies])

    async def run(port: int, clients: int, seconds: float) -> dict[str, float]:
        latencies: list[float] = []
        start = time.perf_counter()
        loop = asyncio.get_running_loop()
        made = [
            await loop.create_connection(lambda: Client(requests, latencies, start + seconds), "127.0.0.1", port)
            for _ in range(clients)
        ]
        await asyncio.gather(*(connection.done for _, connection in made))
        return figures(latencies, time.perf_counter() - start)

    return lambda task: asyncio.run(run(task["port"], task["clients"], task["seconds"]))


def server(run: str, size: str) -> Callable[[dict[str, Any]], dict[str, float]]:
    """A server in a thread of this process; the answer is its port, once it is ready."""
    import http.client
    import socket
    import threading

    from ml4ir_losses.serving.run_server import serve
    from ml4ir_losses.serving.settings import Batching

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    thread = threading.Thread(target=lambda: serve(run, port=port, batching=Batching(size=int(size))), daemon=True)
    thread.start()

    def is_ready() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    while not is_ready():
        if not thread.is_alive():
            raise SystemExit("the server ended; stderr says why")
        time.sleep(0.1)
    return lambda task: {"port": port}


def keras(folder: str, run: str, documents: str) -> Callable[[dict[str, Any]], dict[str, float]]:
    """The model in this process: `predict`, and the compiled function that the server calls."""
    from ml4ir_losses.data.readers import read_table
    from ml4ir_losses.experiments.open_run import open_run
    from ml4ir_losses.features.fitting import encode_rows
    from ml4ir_losses.serving.model_call import EncodedQuery, ModelCall

    model, size = open_run(run).model, int(documents)
    call = ModelCall(model)
    rows = read_table(str(Path(folder) / "rows.parquet"))
    arrays = encode_rows(model.fitted, rows).arrays
    used = {fitted.name: 1 if fitted.scope == "query" else size for fitted in model.fitted}
    lists = [
        {name: arrays[name][start : start + number] for name, number in used.items()}
        for start in range(0, len(rows), size)
    ]
    mask = np.ones((1, size), "float32")
    batches = [{name: x if used[name] == 1 else x[None] for name, x in one.items()} | {"mask": mask} for one in lists]
    inputs = {"predict": cycle(batches), "call": cycle([[EncodedQuery(one, size)] for one in lists])}
    calls = {"predict": lambda x: model.predict(x, verbose=0), "call": call}
    return lambda task: repeated(calls[task["what"]], inputs[task["what"]], task["seconds"])


def lightgbm(folder: str, trees: str, leaves: str) -> Callable[[dict[str, Any]], dict[str, float]]:
    """A gradient-boosted ranker."""
    import lightgbm as lgb

    lists = np.load(Path(folder) / "lists.npy")
    rows = lists.reshape(-1, lists.shape[-1])
    label = np.clip(np.round(rows[:, 0] + np.random.default_rng(2).normal(size=len(rows))), 0, 4)
    data = lgb.Dataset(rows, label, group=[lists.shape[1]] * len(lists))
    booster = lgb.train({"objective": "lambdarank", "num_leaves": int(leaves), "verbose": -1}, data, int(trees))
    inputs = cycle(lists)
    return lambda task: repeated(booster.predict, inputs, task["seconds"])


def make_tfr(folder: str, features: str, *hidden: str) -> Callable[[dict[str, Any]], dict[str, float]]:
    """Writes a SavedModel of TF-Ranking's own scorer, with its own signatures."""
    import tensorflow as tf
    import tensorflow_ranking as tfr
    from tensorflow_serving.apis import input_pb2

    spec = {f"f{i}": tf.io.FixedLenFeature([1], tf.float32, [0.0]) for i in range(int(features))}
    builder = tfr.keras.model.ModelBuilder(
        input_creator=tfr.keras.model.FeatureSpecInputCreator({}, spec),
        preprocessor=tfr.keras.model.PreprocessorWithSpec(),
        scorer=tfr.keras.model.DNNScorer(
            hidden_layer_dims=[int(units) for units in hidden],
            output_units=1,
            activation=tf.nn.relu,
            use_batch_norm=False,
        ),
        mask_feature_name="mask",
        name="scorer",
    )
    model = builder.build()
    signatures = tfr.keras.saved_model.Signatures(model, {}, spec, "mask")()
    model.save(str(Path(folder) / "tfr"), signatures=signatures)
    lists = []
    for numbers in np.load(Path(folder) / "lists.npy"):
        examples = input_pb2.ExampleListWithContext()
        for row in numbers:
            values = {
                f"f{i}": tf.train.Feature(float_list=tf.train.FloatList(value=[v])) for i, v in enumerate(row.tolist())
            }
            examples.examples.append(tf.train.Example(features=tf.train.Features(feature=values)))
        lists.append(examples.SerializeToString())
    np.save(Path(folder) / "lists_with_context.npy", np.array(lists, object))
    return lambda task: {}


def tfr(folder: str) -> Callable[[dict[str, Any]], dict[str, float]]:
    """TF-Ranking's SavedModel in TensorFlow alone."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(Path(folder) / "tfr"))
    signature = loaded.signatures["tensorflow/serving/predict"]
    (name,) = signature.structured_input_signature[1]
    lists = np.load(Path(folder) / "lists_with_context.npy", allow_pickle=True)
    inputs = cycle([[one] for one in lists])

    def call(batch: Any) -> Any:
        return next(iter(signature(**{name: tf.constant(batch)}).values())).numpy()

    return lambda task: {**repeated(call, inputs, task["seconds"]), "kept": bool(loaded)}


def main() -> None:
    """Answers lines of JSON on what was stdout; libraries write there as they please."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    answer = globals()[sys.argv[1]](*sys.argv[2:])
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
