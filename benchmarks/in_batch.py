"""Time and memory of in-batch negatives: blocks of similarities, all of them at once, and sentence-transformers.

    python benchmarks/in_batch.py [ROWS] [DIMENSIONS] [--direction ranking symmetric] [--torch PYTHON]
        [--versions blocks matrix sentence-transformers]

Value and gradient of one batch on TensorFlow, and on torch with `--torch`, the Python of an environment that has
sentence-transformers. Each version has a process of its own, and they take turns. Memory is the growth of the largest
resident size over that before the batch; time is the median.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
VERSIONS = ("blocks", "matrix", "sentence-transformers")
Step = Callable[[Any], tuple[Any, Any]]  # the loss of a batch, and its gradient


def tensorflow_step(version: str, symmetric: bool, dimensions: int) -> tuple[Callable[[Any], Any], Step]:
    """How TensorFlow takes an array [rows, 2, dimensions], and a step over it."""
    import tensorflow as tf

    from ml4ir_losses.functional import multiple_negatives_ranking, multiple_negatives_symmetric_ranking

    def matrix(x: Any) -> Any:
        a, b = tf.math.l2_normalize(x[:, 0], axis=-1), tf.math.l2_normalize(x[:, 1], axis=-1)
        logits, own = 20.0 * tf.matmul(a, b, transpose_b=True), tf.range(tf.shape(x)[0])
        entropy = tf.nn.sparse_softmax_cross_entropy_with_logits
        forward = entropy(own, logits)
        return (forward + entropy(own, tf.transpose(logits))) / 2.0 if symmetric else forward

    def streamed(x: Any) -> Any:
        return (multiple_negatives_symmetric_ranking if symmetric else multiple_negatives_ranking)(None, x)

    @tf.function(input_signature=[tf.TensorSpec((None, 2, dimensions))])
    def value_and_gradient(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_mean((streamed if version == "blocks" else matrix)(x))
        return loss, tape.gradient(loss, x)

    def step(x: Any) -> tuple[Any, Any]:
        loss, slopes = value_and_gradient(x)
        return loss.numpy(), slopes.numpy()

    return tf.constant, step


def torch_step(symmetric: bool) -> tuple[Callable[[Any], Any], Step]:
    """The same of sentence-transformers, whose model is here a parameter."""
    import torch
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    class Given(torch.nn.Module):
        def forward(self, features: dict[str, Any]) -> dict[str, Any]:
            return features

    both = {"directions": ("query_to_doc", "doc_to_query"), "partition_mode": "per_direction"}
    # What MultipleNegativesSymmetricRankingLoss stands for.
    function = MultipleNegativesRankingLoss(Given(), **both if symmetric else {})

    def step(x: Any) -> tuple[Any, Any]:
        x.grad = None
        loss = function([{"sentence_embedding": x[:, column]} for column in range(2)], None)
        loss.backward()
        return loss.detach().numpy(), x.grad.numpy()

    return lambda x: torch.tensor(x, requires_grad=True), step


def work(version: str, direction: str, rows: int, dimensions: int) -> None:
    """Prints the growth of memory, the loss and the size of its gradient, and then for every line read the seconds."""
    import numpy as np

    symmetric = direction == "symmetric"
    on_torch = version == "sentence-transformers"
    take, step = torch_step(symmetric) if on_torch else tensorflow_step(version, symmetric, dimensions)
    array = np.random.default_rng(0).normal(size=(rows, 2, dimensions)).astype("float32")
    x = take(array)
    step(take(array[:64]))
    before = peak()
    loss, slopes = step(x)
    print(f"{peak() - before:.0f} {loss:.6f} {np.sqrt(np.sum(np.square(slopes), dtype='float64')):.6g}", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        step(x)
        print(time.perf_counter() - start, flush=True)


def peak() -> float:
    """The largest resident size so far, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)


class Measured(NamedTuple):
    """What one version takes."""

    version: str
    seconds: float
    megabytes: float
    loss: str
    slope: str


def measured(
    interpreters: dict[str, str], direction: str, rows: int, dimensions: int, repeats: int
) -> Iterator[Measured]:
    """Every version, by turns."""
    size = [str(rows), str(dimensions), "--direction", direction]
    workers, first = {}, {}
    for version, python in interpreters.items():  # one after another: the first step is the one of the memory
        command = [python, __file__, *size, "--version", version]
        worker = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        workers[version], first[version] = worker, worker.stdout.readline().split()
        if not first[version]:
            sys.exit(f"{version} ended, with the code {worker.wait()}: {' '.join(command)}")
    seconds: dict[str, list[float]] = {version: [] for version in workers}
    for _ in range(repeats):
        for version, worker in workers.items():
            worker.stdin.write("\n")
            worker.stdin.flush()
            seconds[version].append(float(worker.stdout.readline()))
    for version, worker in workers.items():
        worker.communicate()
        megabytes, loss, slope = first[version]
        yield Measured(version, statistics.median(seconds[version]), float(megabytes), loss, slope)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="?", type=int, default=16384)
    parser.add_argument("dimensions", nargs="?", type=int, default=256)
    directions = ("ranking", "symmetric")
    parser.add_argument("--direction", nargs="+", choices=directions, default=directions)
    parser.add_argument("--torch", metavar="PYTHON", help="the interpreter that has sentence-transformers")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--versions", nargs="+", choices=VERSIONS, default=VERSIONS)
    parser.add_argument("--version", choices=VERSIONS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.version:
        work(args.version, args.direction[0], args.rows, args.dimensions)
        return
    python = dict.fromkeys(VERSIONS[:2], sys.executable) | ({VERSIONS[2]: args.torch} if args.torch else {})
    interpreters = {version: python[version] for version in args.versions if version in python}
    print(f"{args.rows} rows of {args.dimensions} dimensions, value and gradient, median of {args.repeats}")
    print(f"{'':34}{'seconds':>9}{'of the last':>12}{'MB':>7}{'of the last':>12}{'loss':>11}{'gradient':>12}")
    for direction in args.direction:
        found = list(measured(interpreters, direction, args.rows, args.dimensions, args.repeats))
        last = found[-1]
        for one in found:
            print(
                f"{direction + ', ' + one.version:34}{one.seconds:9.2f}{one.seconds / last.seconds:12.2f}"
                f"{one.megabytes:7.0f}{one.megabytes / last.megabytes:12.3f}{one.loss:>11}{one.slope:>12}",
                flush=True,
            )


if __name__ == "__main__":
    main()
