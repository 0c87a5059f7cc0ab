"""Log-sum-exp over candidates in blocks, value and gradient, against the whole matrix."""

import subprocess
import sys

import numpy as np
import pytest
from keras import ops

from losses.cases import get_loss, make_batch, oracle
from losses.numeric import DOUBLE, assert_close, gradient, values
from ml4ir_losses.ops import in_batch, replicas
from ml4ir_losses.ops.in_batch import Candidates, hardest_columns, logsumexp_both_ways, logsumexp_of_dots
from selection import slow_except

# rows, columns, dimensions, rows of a block: whole blocks, blocks with an end, one block, one row
SHAPES = pytest.mark.parametrize(
    ("rows", "columns", "dims", "block"), [(8, 8, 3, 4), (7, 21, 4, 3), (5, 5, 2, 5), (13, 26, 5, 2), (1, 1, 3, 1)]
)


@pytest.fixture
def small_blocks(monkeypatch):
    """Losses compute blocks of two or more rows."""
    monkeypatch.setattr(in_batch, "_ROWS", 2)
    monkeypatch.setattr(in_batch, "_BLOCK", 4)


def keep(number, row_counts, index, real):
    others = ops.logical_and(number[:, None] != index[None, :], real[None, :])
    return ops.logical_and(others, row_counts[:, None])


def random(rows, columns, dims, dtype, masked=True):
    rng = np.random.default_rng(rows)
    a, b = (2 * rng.normal(size=(size, dims)).astype(dtype) for size in (rows, columns))
    real = [rng.random(size) < (0.7 if masked else 2) for size in (rows, columns)]
    fields = [(ops.arange(len(x)), ops.convert_to_tensor(x)) for x in real]
    return a, b, *fields, rng.normal(size=rows + columns).astype(dtype)


@SHAPES
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("both", [True, False])
def test_sums_over_blocks_equal_the_whole_matrix(rows, columns, dims, block, dtype, masked, both):
    if dtype == "float64" and not DOUBLE:
        pytest.skip("JAX computes in float32")
    a, b, of_rows, of_columns, weight = random(rows, columns, dims, dtype, masked)

    def weighted(a, b, block):
        a, b = ops.convert_to_tensor(a), ops.convert_to_tensor(b)
        if both:
            found = ops.concatenate(logsumexp_both_ways(a, b, Candidates(keep, of_rows, of_columns), block))
        else:
            found = logsumexp_of_dots(a, b, Candidates(keep, of_rows, of_columns), block)
        assert dtype in str(found.dtype)
        return ops.where(found > -1e30, found, 0.0) * ops.convert_to_tensor(weight[: found.shape[0]])

    tolerance = 1e-12 if dtype == "float64" else 2e-5
    whole = values(weighted(a, b, None))
    np.testing.assert_allclose(values(weighted(a, b, block)), whole, rtol=tolerance, atol=tolerance)
    slopes = [
        (gradient(lambda x, size=size: weighted(x, b, size), a), gradient(lambda x, size=size: weighted(a, x, size), b))
        for size in (block, None)
    ]
    for streamed, dense in zip(*slopes, strict=True):
        np.testing.assert_allclose(streamed, dense, rtol=tolerance, atol=tolerance)


@SHAPES
def test_whole_matrix_matches_numpy(rows, columns, dims, block):
    a, b, of_rows, of_columns, _ = random(rows, columns, dims, "float32")
    candidates = Candidates(keep, of_rows, of_columns)
    kept = values(keep(*of_rows, *of_columns)) > 0
    dots = np.where(kept, a.astype("float64") @ b.T.astype("float64"), -np.inf)
    with np.errstate(divide="ignore"):
        expected = np.log(np.exp(dots).sum(axis=1))
    for size in (None, block):
        found = values(logsumexp_of_dots(*map(ops.convert_to_tensor, (a, b)), candidates, size))
        some = kept.any(axis=1)
        np.testing.assert_allclose(found[some], expected[some], rtol=1e-5, atol=1e-5)
        assert (found[~some] < -1e30).all()
        assert np.isfinite(found).all()
        hardest = values(hardest_columns(*map(ops.convert_to_tensor, (a, b)), candidates, block))
        np.testing.assert_array_equal(hardest[some], dots.argmax(axis=1)[some])


@pytest.mark.parametrize("size", [1e4, 1e-4])
def test_large_and_small_embeddings_give_exact_values(size):
    a, b, of_rows, of_columns, _ = random(9, 9, 3, "float32")
    a = a * np.float32(size)

    def both(x, block):
        found = logsumexp_both_ways(x, ops.convert_to_tensor(b), Candidates(keep, of_rows, of_columns), block)
        return ops.where(found[0] > -1e30, found[0], 0.0) + ops.where(found[1] > -1e30, found[1], 0.0)

    expected, slopes = (values(both(ops.convert_to_tensor(a), None)), gradient(lambda x: both(x, None), a))
    np.testing.assert_allclose(values(both(ops.convert_to_tensor(a), 2)), expected, rtol=1e-5)
    np.testing.assert_allclose(gradient(lambda x: both(x, 2), a), slopes, atol=1e-4)


KEYS = (
    "multiple_negatives_ranking",
    "multiple_negatives_symmetric_ranking",
    "gist_embed",
    "contrastive_tension_in_batch",
)


def row_values(key, batch, **params):
    """Unlike `pure`, which on JAX compiles a loss only once, it follows the patched block size."""
    return lambda scores: get_loss(key, **params).per_query(batch.labels, scores, batch.weight, batch.mask)


HARD = {"hardness_mode": "in_batch_negatives", "hardness_strength": 3.0}
DIRECTED = {"directions": ["query_to_doc", "query_to_query", "doc_to_query", "doc_to_doc"], **HARD}


@pytest.mark.parametrize(("key", "params"), [*((key, {}) for key in KEYS), (KEYS[0], DIRECTED)], ids=str)
@pytest.mark.parametrize("rows", [7, 1])
def test_losses_in_blocks_equal_losses_of_the_whole_batch(key, params, rows, small_blocks, request):
    batch = make_batch(key, rows=rows)
    function = row_values(key, batch, **params)
    slopes = gradient(function, batch.scores)
    assert_close(values(function(batch.scores)), oracle(key, batch, **params))
    request.getfixturevalue("monkeypatch").undo()
    assert_close(slopes, gradient(function, batch.scores), single=1e-4)


@pytest.mark.parametrize("key", slow_except(KEYS, "multiple_negatives_symmetric_ranking"))
@pytest.mark.backend("tensorflow")
@pytest.mark.parametrize("xla", slow_except([False, True], False))
def test_losses_in_blocks_inside_a_graph_equal_eager_ones(key, xla, small_blocks):
    """For static and dynamic numbers of rows, with and without XLA."""
    import tensorflow as tf

    batch = make_batch(key, padded=False)
    fn = row_values(key, batch)

    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(fn(x))
        return loss, tape.gradient(loss, x)

    expected, slopes = step(tf.constant(batch.scores))
    for rows in (None, 7):
        spec = [tf.TensorSpec((rows, *batch.scores.shape[1:]), "float64")]
        found = tf.function(step, input_signature=spec, jit_compile=xla)(batch.scores)
        np.testing.assert_allclose(values(found[0]), values(expected), rtol=1e-12)
        np.testing.assert_allclose(values(found[1]), values(slopes), atol=1e-10)


@pytest.mark.backend("jax")
@pytest.mark.parametrize("key", KEYS)
def test_losses_in_compiled_blocks_equal_eager_ones(key, small_blocks):
    import jax

    batch = make_batch(key)
    scores = batch.scores.astype("float32")
    step = jax.value_and_grad(lambda x: ops.sum(row_values(key, batch)(x)))
    loss, slopes = jax.jit(step)(scores)
    expected, expected_slopes = step(scores)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(slopes, expected_slopes, atol=1e-4)


@pytest.mark.backend("tensorflow")
def test_step_needs_the_memory_of_one_block():
    """Value and gradient of 6000 rows, whose matrix takes 144 MB, need less than half of that."""
    program = """
import resource, numpy as np, tensorflow as tf
from ml4ir_losses.functional import multiple_negatives_symmetric_ranking as loss
@tf.function
def step(x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = tf.reduce_mean(loss(None, x))
    return value, tape.gradient(value, x)
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
x = tf.constant(np.random.default_rng(0).normal(size=(6000, 2, 8)).astype("float32"))
step(x[:64])
before = peak()
step(x)
print(peak() - before)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert float(ran.stdout.split()[-1]) < 72


def test_gathering_from_one_device_returns_its_own_rows():
    x = ops.ones((3, 2, 4))
    (same,), before = replicas.gather_rows(x)
    assert same is x
    assert before == 0


def test_gathering_from_one_device_warns_and_changes_nothing():
    batch = make_batch("multiple_negatives_ranking")
    loss = get_loss("multiple_negatives_ranking", gather_across_devices=True)
    with pytest.warns(UserWarning, match="`gather_across_devices` has no effect: there is one device"):
        found = loss.per_query(batch.labels, batch.scores)
    expected = get_loss("multiple_negatives_ranking").per_query(batch.labels, batch.scores)
    np.testing.assert_array_equal(values(found), values(expected))


@pytest.mark.parametrize("key", ["contrastive_tension_in_batch", "multiple_negatives_ranking"])
def test_trainable_scale_gets_its_gradient(key):
    from ml4ir_losses import functional

    batch = make_batch(key)

    def mean(scale, number=ops.mean):
        x = ops.convert_to_tensor(batch.scores.astype("float32"))
        return number(getattr(functional, key)(None, x, scale=ops.exp(scale)))

    start = np.float32(np.log(20.0))
    slope = gradient(mean, start)
    up, down = (values(mean(ops.convert_to_tensor(start + np.float32(step)))) for step in (0.01, -0.01))
    assert slope == pytest.approx((up - down) / 0.02, rel=1e-3)
