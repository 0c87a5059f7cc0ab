"""Sums of piecewise polynomials over the pairs of rankings, against float64 NumPy."""

import numpy as np
import pytest
from keras import ops

from losses.numeric import BACKEND, values
from ml4ir_losses.ops.pair_terms import Hinge, Quantile, Square
from ml4ir_losses.ops.piecewise_sums import PiecewisePairs
from ops.ranked_lists import KINDS, ORDERS, SPREADS, assert_sums_match, graph_of_sums, ranked_lists
from selection import slow_except

TERMS = (
    *(Hinge(margin) for margin in (0.0, 0.3, 1.0, 100.0)),
    Quantile(0.3),
    Quantile(0.8, squared=True),
    Quantile(1.0),
    Square(),
)
each_kind = pytest.mark.parametrize("kind", KINDS)
each_term = pytest.mark.parametrize("term", slow_except(TERMS, *TERMS[1:3], *TERMS[4:6]), ids=str)


def in_numpy(term):
    """The term and its derivative from its formula, with the margin that float32 holds."""

    def hinge(x):
        gap = np.float32(term.margin) - x
        return np.maximum(gap, 0.0), -1.0 * (gap > 0)

    def quantile(x):
        factor = np.where(x > 0, 1.0 - term.tau, term.tau)
        if term.squared:
            return factor * x**2, 2 * factor * x
        return factor * np.abs(x), factor * np.sign(x)

    return {Hinge: hinge, Quantile: quantile, Square: lambda x: (x**2, 2 * x)}[type(term)]


def check(term, *args, **kwargs):
    return assert_sums_match(PiecewisePairs, term, in_numpy(term), ranked_lists(*args, **kwargs))


@each_term
@each_kind
def test_sums_match_numpy_for_every_spread_and_order(term, kind):
    for seed, order in enumerate(ORDERS):
        for spread in SPREADS:
            check(term, kind, 3, 70, spread, order, seed)


QUICK_SIZES = (33,) if BACKEND == "jax" else (1, 64, 600)  # JAX compiles every size


@pytest.mark.parametrize("size", slow_except([1, 2, 31, 32, 33, 64, 65, 128, 600], *QUICK_SIZES))
@each_kind
def test_sums_match_numpy_for_every_size(kind, size):
    for term in (Hinge(1.0), Quantile(0.3), Quantile(0.8, squared=True)):
        check(term, kind, 2, size, 1.0, "random")


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", slow_except(KINDS, "levels", "discounts"))
def test_sums_of_long_lists_match_numpy(kind, order):
    if kind == "discounts" and order == "perfect":
        pytest.skip("|d_i - d_j| of the few active pairs is much less than d, and has fewer digits")
    check(Hinge(1.0), kind, 1, 5000, 100.0, order)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["levels", "discounts"])
def test_sums_of_60000_documents_match_numpy(kind):
    check(Hinge(1.0), kind, 1, 60_000)


@pytest.mark.parametrize("kind", ["levels", "gains"])
def test_pairs_at_the_margin_are_told_from_those_next_to_it(kind):
    """Scores that differ by the margin or by its neighbours in float32, where a rounded sum of both decides wrongly."""
    margin = 0.3
    lists = ranked_lists(kind, 4, 128, order="ties")
    rng = np.random.default_rng(1)
    for size in (1.0, 5.0, 1000.0):
        start = (size * rng.uniform(-1, 1, (4, 64))).astype("float32")
        other = (start - np.float32(margin)).astype("float32")
        other = np.nextafter(other, rng.choice([-np.inf, np.inf, 0.0], other.shape).astype("float32"))
        scores = -np.sort(-np.concatenate([start, other], axis=1), axis=1)
        assert_sums_match(PiecewisePairs, Hinge(margin), in_numpy(Hinge(margin)), lists._replace(scores=scores))


def test_only_few_pairs_of_a_perfect_ranking_are_active():
    expected = check(Hinge(1.0), "levels", 2, 600, 10.0, "perfect")
    assert 0 < np.count_nonzero(expected) < 120


def test_lists_without_valid_documents_have_sums_of_zero():
    lists = ranked_lists("all", 2, 5)
    nothing = lists._replace(lower=0 * lists.lower, upper=0 * lists.upper, mask=np.zeros_like(lists.mask))
    assert not assert_sums_match(PiecewisePairs, Hinge(1.0), in_numpy(Hinge(1.0)), nothing).any()


@each_term
def test_pieces_are_the_term(term):
    x = np.linspace(-3, 3, 61, dtype="float32")
    below, above, margin, power = term.pieces
    formula = below * np.maximum(margin - x, 0) ** power + above * np.maximum(x - margin, 0) ** power
    np.testing.assert_allclose(values(term(ops.convert_to_tensor(x))[0]), formula, rtol=1e-6, atol=1e-7)


@pytest.mark.backend("tensorflow")
@pytest.mark.parametrize("jit", slow_except([False, True], False), ids=["graph", "xla"])
@pytest.mark.parametrize("kind", ["levels", "discounts"])
def test_sums_in_graphs_of_unknown_shapes(kind, jit):
    graph = graph_of_sums(PiecewisePairs, Hinge(0.3), kind, jit)
    for shape in ((2, 5), (3, 100)):
        lists = ranked_lists(kind, *shape)
        assert_sums_match(None, Hinge(0.3), in_numpy(Hinge(0.3)), lists, graph(*lists))
