"""How often XLA compiles a kernel, according to TensorFlow's log."""

import os
import subprocess
import sys

import numpy as np
import pytest

from losses.numeric import values
from ml4ir_losses import get_loss
from selection import slow_except

LOG = {"TF_CPP_MIN_LOG_LEVEL": "0", "TF_CPP_VMODULE": "device_compilation_profiler=1"}


def is_compilation(line):
    return "] Compiled " in line and "compile time" in line


PROGRAM = """
import sys
import numpy as np, tensorflow as tf
from ml4ir_losses import get_loss

rng = np.random.default_rng(0)

def lists(width, longest):
    labels = rng.integers(0, 4, (16, width)).astype("float32")
    for row, size in enumerate(rng.integers(1, longest + 1, 16)):
        labels[row, size:] = -1.0
    return labels, rng.normal(size=(16, width)).astype("float32")

def step_of(key, **how):
    fn = get_loss(key).get_loss_fn()

    @tf.function(autograph=False, **how)
    def step(labels, scores):
        with tf.GradientTape() as tape:
            tape.watch(scores)
            loss = fn(labels, scores)
        return loss, tape.gradient(loss, scores)

    return step

unknown = [tf.TensorSpec([None, None], "float32")] * 2
for key in sys.argv[1:]:
    for how, widths in (({"input_signature": unknown}, (96, 400, 91, 1000, 80)), ({"jit_compile": True}, (96, 96, 96))):
        step = step_of(key, **how)
        for number, width in enumerate(widths):
            print("call", "first" if number == 0 else "later", key, how, file=sys.stderr, flush=True)
            step(*map(tf.constant, lists(width, width // (number + 1))))
"""


@pytest.mark.backend("tensorflow")
def test_batches_of_any_width_share_one_compilation():
    """List lengths differ between batches: compiling a kernel for each would cost a second per step."""
    keys = ["lambda_loss", "neural_sort_cross_entropy"]  # pairs with distances, columns
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, *keys], capture_output=True, text=True, check=True, env={**os.environ, **LOG}
    )
    compiled: dict[str, int] = {}
    call = "before"
    for line in ran.stderr.splitlines():
        call = line if line.startswith("call ") else call
        compiled[call] = compiled.get(call, 0) + is_compilation(line)
    firsts = [count for call, count in compiled.items() if call.startswith("call first")]
    later = {call: count for call, count in compiled.items() if call.startswith("call later")}
    assert len(firsts) == len(later) == 2 * len(keys)
    assert all(1 <= count <= 4 for count in firsts)
    assert not any(later.values()), later


EAGER = """
import sys
import numpy as np, tensorflow as tf
from ml4ir_losses import get_loss
from ml4ir_losses.ops.kernels import stripes

key, start, step = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
fn = get_loss(key).get_loss_fn()
rng = np.random.default_rng(0)

def value_and_gradient(labels, scores):
    with tf.GradientTape() as tape:
        tape.watch(scores)
        loss = fn(labels, scores)
    return loss, tape.gradient(loss, scores)

for number, width in enumerate(range(start, 1502, step)):
    labels = tf.constant(rng.integers(-1, 4, (4, width)).astype("float32"))
    scores = tf.constant(rng.normal(size=(4, width)).astype("float32"))
    found = value_and_gradient(labels, scores)
    if number % 100 == 10:
        dense, stripes._DENSE = stripes._DENSE, 2**40
        for kernel, reference in zip(found, value_and_gradient(labels, scores)):
            np.testing.assert_allclose(kernel, reference, rtol=1e-4, atol=1e-6)
        stripes._DENSE = dense
"""


@pytest.mark.backend("tensorflow")
@pytest.mark.parametrize(
    ("key", "start", "step", "most"),
    [
        pytest.param("lambda_loss", 2, 1, 1, marks=pytest.mark.slow),  # 1,500 widths
        ("lambda_loss", 600, 60, 1),
        pytest.param("neural_sort_cross_entropy", 600, 60, 2, marks=pytest.mark.slow),
        pytest.param("neural_sort_ndcg", 600, 60, 4, marks=pytest.mark.slow),
    ],
)
def test_eager_calls_of_many_widths_share_a_few_kernels(key, start, step, most):
    """A kernel per width would take about 100 memory maps each, and the process would end after some 700 of them."""
    ran = subprocess.run(
        [sys.executable, "-c", EAGER, key, str(start), str(step)],
        capture_output=True,
        text=True,
        env={**os.environ, **LOG},
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert 1 <= sum(map(is_compilation, ran.stderr.splitlines())) <= most


KEYS = ("pairwise_logistic", "lambda_loss", "approx_ndcg", "neural_sort_ndcg", "list_mle")


@pytest.mark.backend("tensorflow")
@pytest.mark.parametrize("key", slow_except(KEYS, "lambda_loss", "list_mle"))
@pytest.mark.parametrize("known", slow_except([True, False], False), ids=["known", "unknown"])
def test_graphs_of_known_and_unknown_widths_match_eager_calls(key, known):
    import tensorflow as tf

    rng = np.random.default_rng(0)
    fn = get_loss(key).get_loss_fn()

    def step(labels, scores):
        with tf.GradientTape() as tape:
            tape.watch(scores)
            loss = fn(labels, scores)
        return loss, tape.gradient(loss, scores)

    for width in (50, 70):  # one tile, and two
        labels = rng.integers(-1, 4, (40, width)).astype("float32")
        scores = rng.normal(size=(40, width)).astype("float32")
        shape = [40, width] if known else [None, None]
        graph = tf.function(step, input_signature=[tf.TensorSpec(shape, "float32")] * 2, autograph=False)
        for found, right in zip(graph(labels, scores), step(tf.constant(labels), tf.constant(scores)), strict=True):
            np.testing.assert_allclose(values(found), values(right), rtol=1e-5, atol=1e-7)
