"""NeuralSort in compiled stripes, values and gradients, against float64 NumPy with full matrices."""

import numpy as np
import pytest
from keras import ops

from losses.numeric import DOUBLE, gradient, values
from ml4ir_losses.losses.listwise.neural_sort import gumbel_neural_sort_cross_entropy
from ml4ir_losses.ops.neural_sort import neural_sort_entropy, neural_sort_matrix, neural_sort_ranks
from ml4ir_losses.ops.sampling import gumbel_noise, perturb
from ops.pair_oracles import make_lists
from selection import slow_except

SHAPES = [(24, 24), (3, 1)]
ROUNDED = 2e-5
pytestmark = pytest.mark.usefixtures("small_stripes")


def log_shares(v):
    """f, sign(v_k - v_j) and ln P of one list without padding."""
    n = len(v)
    factor, sign = n + 1 - 2 * np.arange(1.0, n + 1), np.sign(v[:, None] - v)
    logits = factor[:, None] * v - np.abs(v[:, None] - v).sum(axis=1)
    logits -= logits.max(axis=1, keepdims=True)
    return factor, sign, logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def slopes_of(factor, sign, slopes):
    """Gradients in the values from gradients in the logits."""
    to_distance = -slopes.sum(axis=0)
    return factor @ slopes + sign.sum(axis=1) * to_distance + sign @ to_distance


def entropy(labels, scores):
    factor, sign, log_share = log_shares(scores)
    target = np.exp(log_shares(labels)[2])
    return -(target * log_share).sum(), slopes_of(factor, sign, np.exp(log_share) - target)


def expected(at_rank, upstream, scores):
    factor, sign, log_share = log_shares(scores)
    shares = np.exp(log_share)
    change = at_rank[:, None] * upstream
    change -= (shares * change).sum(axis=1, keepdims=True)
    return shares.T @ at_rank, slopes_of(factor, sign, shares * change)


def per_list(function, lists, *facts):
    """The function of the valid documents of each list, and its gradient, 0 in padding."""
    found, slopes = [], np.zeros(lists.mask.shape)
    for row, mask in enumerate(lists.mask):
        value, slope = function(*(x[row, mask] for x in (*facts, lists.scores))) if mask.any() else (0.0, ())
        found.append(value)
        slopes[row, mask] = slope
    return found, slopes


def assert_near(actual, wanted, tolerance):
    wanted = np.asarray(wanted)
    np.testing.assert_allclose(actual, wanted, rtol=0, atol=tolerance * np.abs(wanted).max(initial=1.0))


def check_entropy(shape, spread, seed=0, dtype="float32", tolerance=ROUNDED):
    lists = make_lists(*shape, spread, seed)
    labels, mask = ops.convert_to_tensor(lists.labels.astype(dtype)), ops.convert_to_tensor(lists.mask)
    scores = lists.scores.astype(dtype)

    def function(x):
        return neural_sort_entropy(ops.where(mask, labels, 0.0), ops.where(mask, x, 0.0), mask)

    wanted, slopes = per_list(entropy, lists, lists.labels)
    assert_near(values(function(ops.convert_to_tensor(scores))), wanted, tolerance)
    found = gradient(function, scores)
    assert_near(found, slopes, tolerance)
    assert not found[~lists.mask].any()


def check_ranks(shape, spread, seed=0, dtype="float32", tolerance=ROUNDED):
    lists = make_lists(*shape, spread, seed)
    mask, scores = ops.convert_to_tensor(lists.mask), lists.scores.astype(dtype)
    upstream = np.random.default_rng(seed).normal(size=shape).astype(dtype)

    def function(x):
        return neural_sort_ranks(0.5)(ops.where(mask, x, 0.0), mask)(lambda rank: 1.0 / (1.0 + rank))

    def oracle(u, scores):
        value, slope = expected(1 / (1 + np.arange(1.0, len(u) + 1)), u.astype("float64"), scores / 0.5)
        return value, slope / 0.5

    wanted, slopes = per_list(oracle, lists, upstream)
    found = values(function(ops.convert_to_tensor(scores)))
    for row, real in enumerate(lists.mask):
        assert_near(found[row, real], wanted[row] if real.any() else [], tolerance)
        assert not found[row, ~real].any()
    found = gradient(lambda x: function(x) * ops.convert_to_tensor(upstream), scores)
    assert_near(found, slopes, tolerance)
    assert not found[~lists.mask].any()


each_check = pytest.mark.parametrize("check", [check_entropy, check_ranks])


@each_check
@pytest.mark.parametrize("shape", slow_except(SHAPES, (24, 24)), ids=str)
def test_batches_of_many_shapes_match_numpy(check, shape):
    check(shape, 1.0)


@each_check
@pytest.mark.parametrize("spread", [0.0, 1.0, 1e4])
def test_score_spreads_from_small_to_large_match_numpy(check, spread):
    check((6, 24), spread, seed=1)


@each_check
@pytest.mark.skipif(not DOUBLE, reason="JAX computes in float32")
def test_float64_scores_give_float64_values(check):
    for spread in (1.0, 1e4):
        check((6, 24), spread, dtype="float64", tolerance=1e-12)


@each_check
def test_stripe_size_does_not_change_the_value(check, stripe_size):
    with stripe_size(512):
        check((6, 24), 1.0, seed=4)


@each_check
@pytest.mark.parametrize("shape", [(3, 24), (2, 400)], ids=str)
def test_default_stripes_match_numpy(check, shape, stripe_size):
    """With default stripes: the whole matrix at once, and the kernel."""
    with stripe_size(2**18, dense=2**16):
        check(shape, 3.0, tolerance=1e-4)


@each_check
def test_sums_used_on_accelerators_match_numpy(check, stripe_size, monkeypatch):
    with stripe_size(512):
        monkeypatch.setattr("ml4ir_losses.ops.neural_sort.has_accelerator", lambda: True)
        check((6, 24), 1.0, seed=5)


def test_matrix_and_its_gradient_match_numpy():
    """Rows sum to 1 over the valid documents; the gradient equals that of the sums in stripes."""
    lists = make_lists(6, 24)
    mask, scores = ops.convert_to_tensor(lists.mask), np.where(lists.mask, lists.scores, 0.0).astype("float32")
    shares = values(neural_sort_matrix(ops.convert_to_tensor(scores), mask))
    exists = np.arange(24) < lists.mask.sum(axis=1, keepdims=True)
    assert_near(shares.sum(axis=2), exists, ROUNDED)
    assert not shares[np.broadcast_to(~lists.mask[:, None, :], shares.shape)].any()
    at_rank = 1 / np.arange(1.0, 25).astype("float32")
    weights = np.random.default_rng(0).normal(size=(6, 1, 24)).astype("float32")

    def whole(x):
        return neural_sort_matrix(x, mask) * ops.convert_to_tensor(weights * at_rank[:, None])

    def summed(x):
        return neural_sort_ranks(1.0)(x, mask)(lambda rank: 1.0 / rank) * ops.convert_to_tensor(weights[:, 0])

    assert_near(gradient(whole, scores), gradient(summed, scores), ROUNDED)


def test_gumbel_samples_in_stripes_match_numpy():
    lists = make_lists(6, 24)
    labels, mask = ops.convert_to_tensor(lists.labels.astype("float32")), ops.convert_to_tensor(lists.mask)
    scores = ops.convert_to_tensor(np.where(lists.mask, lists.scores, 0.0).astype("float32"))
    found = values(gumbel_neural_sort_cross_entropy(labels, scores, mask, sample_size=3, seed=7))
    means = np.zeros(6)
    for noise in gumbel_noise(scores, 3, 7):
        sample = lists._replace(scores=values(perturb(scores, mask, noise)))
        means += np.array(per_list(entropy, sample, lists.labels)[0]) / 3
    relevant = np.where(lists.mask, lists.labels, 0.0).max(axis=1) > 0
    assert_near(found, np.where(relevant, means / np.maximum(1, lists.mask.sum(axis=1)), 0.0), ROUNDED)


@pytest.mark.backend("tensorflow")
def test_dynamic_shapes_equal_static_shapes(stripe_size):
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([None, None], dtype) for dtype in ("float32", "float32", "bool")])
    def both(labels, scores, mask):
        with tf.GradientTape() as tape:
            tape.watch(scores)
            value = neural_sort_entropy(labels, scores, mask)
        return value, tape.gradient(value, scores)

    with stripe_size(160, dense=100):
        for shape in ((2, 5), (6, 24)):  # as a full matrix, and in stripes
            lists = make_lists(*shape)
            given = [np.where(lists.mask, x, 0.0).astype("float32") for x in (lists.labels, lists.scores)]
            wanted = per_list(entropy, lists, lists.labels)
            for actual, number in zip(both(*given, lists.mask), wanted, strict=True):
                assert_near(values(actual), number, ROUNDED)
