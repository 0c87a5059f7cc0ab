"""Sums of exponentials over the pairs of rankings, and the exponentials that make up a term, against float64 NumPy."""

import numpy as np
import pytest
from keras import ops
from scipy.special import expit

from losses.numeric import BACKEND, values
from ml4ir_losses.ops.exponential_sums import RankedPairs, dense_pairs
from ml4ir_losses.ops.pair_terms import Logistic, SoftZeroOne
from ml4ir_losses.ops.separable import SeparableWeights
from ops.ranked_lists import KINDS, ORDERS, SPREADS, assert_sums_match, graph_of_sums, pair_sums_of, ranked_lists
from selection import slow_except

TERMS = {
    Logistic(): lambda x: (np.logaddexp(0, -x), -expit(-x)),
    SoftZeroOne(): lambda x: (expit(-x), -expit(-x) * expit(x)),
}
each_term = pytest.mark.parametrize("term", TERMS, ids=lambda term: type(term).__name__)
each_kind = pytest.mark.parametrize("kind", KINDS)


def check(term, *args, **kwargs):
    tolerance = 2e-6 if term == Logistic() else 3e-6  # the terms of the derivative of σ add up to more
    assert_sums_match(RankedPairs, term, TERMS[term], ranked_lists(*args, **kwargs), slope_tolerance=tolerance)


@each_term
@each_kind
def test_sums_match_numpy_for_every_spread_and_order(term, kind):
    for seed, order in enumerate(ORDERS):
        for spread in (1e-6, *SPREADS):
            if kind == "all" and spread == 1e4:  # all slopes are 0 but that of the pair of a document with itself
                continue
            check(term, kind, 3, 70, spread, order, seed)


QUICK_SIZES = (33,) if BACKEND == "jax" else (1, 64, 600)  # JAX compiles every size


@pytest.mark.parametrize("size", slow_except([1, 2, 31, 32, 33, 64, 65, 128, 600], *QUICK_SIZES))
@each_kind
def test_sums_match_numpy_for_every_size(kind, size):
    for term in TERMS:
        check(term, kind, 2, size)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", slow_except(KINDS, "levels", "discounts"))
def test_sums_of_long_lists_match_numpy(kind, order):
    if kind == "discounts" and order == "perfect":
        pytest.skip("|d_i - d_j| of the few active pairs is much less than d, and has fewer digits")
    check(Logistic(), kind, 1, 5000, 100.0, order)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["levels", "discounts"])
def test_sums_of_60000_documents_match_numpy(kind):
    check(Logistic(), kind, 1, 60_000)


@each_kind
def test_dense_pairs_are_the_same_sums(kind):
    lists = ranked_lists(kind, 2, 9)
    lists = lists._replace(scores=np.where(lists.mask, lists.scores, 0.0).astype("float32"))
    lower, upper, mix, scores, *_ = map(ops.convert_to_tensor, lists)
    symmetric = np.array_equal(lists.lower, lists.upper)
    weights = SeparableWeights(lower, lower if symmetric else upper, mix)
    each, slopes = map(values, dense_pairs(Logistic(), weights, (scores,)))
    _, expected, expected_slopes = pair_sums_of(TERMS[Logistic()], lists)
    np.testing.assert_allclose(each, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(slopes.sum(2) - slopes.sum(1), expected_slopes, rtol=1e-5, atol=1e-6)


@each_term
def test_exponentials_fit_value_and_slope(term):
    """Within 1e-7, relative to each number, where e^-u does not underflow in float32."""
    u = np.concatenate([np.linspace(0, 5, 50_001), np.linspace(5, 85, 8001)])
    powers = np.exp(-u[:, None] * term.rates)
    value, slope = TERMS[term](u)
    np.testing.assert_allclose(powers @ term.factors, value, rtol=1e-7)
    np.testing.assert_allclose(-powers @ np.multiply(term.rates, term.factors), slope, rtol=1e-7)


@each_term
def test_wrong_order_follows_from_the_right_one(term):
    u = np.linspace(0, 30, 3001)
    (right, right_slope), (wrong, wrong_slope) = TERMS[term](u), TERMS[term](-u)
    np.testing.assert_allclose(wrong, term.sign * right + term.constant + term.growth * u, rtol=1e-12)
    np.testing.assert_allclose(wrong_slope, -term.sign * right_slope - term.growth, rtol=1e-9, atol=1e-12)


@pytest.mark.backend("tensorflow")
@pytest.mark.parametrize("jit", slow_except([False, True], False), ids=["graph", "xla"])
@pytest.mark.parametrize("kind", ["levels", "discounts"])
def test_sums_in_graphs_of_unknown_shapes(kind, jit):
    graph = graph_of_sums(RankedPairs, Logistic(), kind, jit)
    for shape in ((2, 5), (3, 100)):
        lists = ranked_lists(kind, *shape)
        assert_sums_match(None, Logistic(), TERMS[Logistic()], lists, graph(*lists))
