"""Computations in stripes, by sorting or on float bits, against the dense reference in their module."""

import numpy as np
import pytest
from keras import ops

from losses.numeric import gradient, values
from ml4ir_losses.ops.kernels.odds import dense_odds, odds, powers
from ml4ir_losses.ops.neural_sort import dense_neural_sort, neural_sort_matrix, neural_sort_ranks
from ml4ir_losses.ops.pair_terms import Hinge, Logistic
from ml4ir_losses.ops.pairs import dense_pair_sums, pair_sums
from ml4ir_losses.ops.sinkhorn import dense_sinkhorn, sinkhorn
from ml4ir_losses.ops.soft_ranks import approx_ranks, bound_ranks, dense_approx_ranks, dense_bound_ranks
from ml4ir_losses.ops.tail_sums import dense_tail_sums, tail_sums
from ml4ir_losses.ops.weighing import given_weights

RNG = np.random.default_rng(7)
SHAPE = (6, 24)
SCORES = RNG.normal(size=SHAPE).astype("float32")
LABELS = ops.convert_to_tensor(RNG.integers(0, 4, SHAPE).astype("float32"))
MASK = ops.convert_to_tensor(RNG.random(SHAPE) < 0.7)
WEIGHT = ops.convert_to_tensor(RNG.uniform(0.5, 2.0, SHAPE).astype("float32"))
FACTOR = ops.convert_to_tensor(RNG.normal(size=SHAPE).astype("float32"))  # so that gradients do not cancel


def assert_same_value_and_gradient(function, reference, x=SCORES):
    np.testing.assert_allclose(
        values(function(ops.convert_to_tensor(x))), values(reference(ops.convert_to_tensor(x))), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(gradient(function, x), gradient(reference, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("term", [Logistic(), Hinge()], ids=["logistic", "hinge"])
def test_pair_sums_match_the_dense_reference(term, small_stripes):
    ones = ops.ones((SHAPE[0], SHAPE[1], SHAPE[1]))
    assert_same_value_and_gradient(
        lambda s: pair_sums(term, LABELS, s, MASK, WEIGHT),
        lambda s: dense_pair_sums(term, LABELS, s, MASK, WEIGHT, ones),
    )


def test_pair_sums_with_a_user_defined_weight_match_the_dense_reference():
    weights = ops.convert_to_tensor(RNG.uniform(size=(*SHAPE, SHAPE[1])).astype("float32"))
    assert_same_value_and_gradient(
        lambda s: pair_sums(Logistic(), LABELS, s, MASK, WEIGHT, given_weights(weights)),
        lambda s: dense_pair_sums(Logistic(), LABELS, s, MASK, WEIGHT, weights),
    )


@pytest.mark.parametrize(
    ("rank_fn", "reference"),
    [(approx_ranks, dense_approx_ranks), (bound_ranks, dense_bound_ranks)],
    ids=["approx", "bound"],
)
def test_smooth_ranks_match_the_dense_reference(rank_fn, reference, small_stripes):
    assert_same_value_and_gradient(
        lambda s: FACTOR * rank_fn(0.5)(s, MASK)(lambda rank: rank),
        lambda s: FACTOR * reference(s, MASK, 0.5),
    )


def test_neural_sort_matrix_matches_the_dense_reference():
    assert_same_value_and_gradient(
        lambda s: FACTOR[:, :, None] * neural_sort_matrix(s, MASK),
        lambda s: FACTOR[:, :, None] * dense_neural_sort(s, MASK),
    )


def test_expected_values_under_neural_sort_match_the_dense_reference(small_stripes):
    assert_same_value_and_gradient(
        lambda s: FACTOR * neural_sort_ranks(1.0)(s, MASK)(lambda rank: 1.0 / rank),
        lambda s: FACTOR * ops.sum(dense_neural_sort(s, MASK) / ops.arange(1.0, SHAPE[1] + 1.0)[None, :, None], axis=1),
    )


def test_tail_sums_match_the_dense_reference():
    assert_same_value_and_gradient(lambda s: FACTOR * tail_sums(s), lambda s: FACTOR * dense_tail_sums(s))


def test_sinkhorn_matches_the_dense_reference():
    matrix = RNG.uniform(0.1, 1.0, (2, 5, 5)).astype("float32")
    factor = ops.convert_to_tensor(RNG.normal(size=(2, 5, 5)).astype("float32"))
    assert_same_value_and_gradient(lambda x: factor * sinkhorn(x, 4), lambda x: factor * dense_sinkhorn(x, 4), x=matrix)


@pytest.mark.backend("tensorflow", "jax")
def test_odds_match_the_dense_reference():
    x = ops.convert_to_tensor(5.0 * SCORES)
    each = powers(x, 0.5)
    found = odds([y[:, :, None] for y in each], [y[:, None, :] for y in each])
    np.testing.assert_allclose(np.log(values(found)), np.log(values(dense_odds(x, 0.5))), rtol=1e-5, atol=1e-4)
