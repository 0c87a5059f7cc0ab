"""e^(x_j - x_i) from one exponential per document, and the terms computed from it, against float64 NumPy."""

import numpy as np
import pytest
from keras import ops
from scipy.special import expit

from losses.numeric import DOUBLE, values
from ml4ir_losses.ops.kernels.compiling import compiled
from ml4ir_losses.ops.kernels.odds import odds, powers
from ml4ir_losses.ops.pair_terms import Logistic, SoftZeroOne

TERMS = {
    Logistic(): lambda x: (np.logaddexp(0, -x), -expit(-x), -expit(x)),
    SoftZeroOne(): lambda x: (expit(-x), -expit(x) * expit(-x), -expit(x) * expit(-x)),
}
MOST = 100
prepared = pytest.mark.backend("tensorflow", "jax")
each_term = pytest.mark.parametrize("term", TERMS, ids=lambda term: type(term).__name__)


@pytest.fixture(autouse=True)
def as_on_processors(monkeypatch):
    """Makes `powers` compute, as on a CPU: on accelerators it returns ()."""
    monkeypatch.setattr("ml4ir_losses.ops.kernels.odds.has_accelerator", lambda: False)


def of_pairs(x, unit=1.0):
    """The odds of all pairs of x [N], in a compiled function."""

    def every(x):
        each = powers(x, unit)
        return odds([y[:, None] for y in each], [y[None, :] for y in each])

    return values(compiled(every)(ops.convert_to_tensor(x)))


def assert_near(found, x, unit, tolerance):
    """Relative error where |log2| < 100; beyond, odds are at least about 2^±100."""
    x = np.asarray(x, "float64")
    expected = np.exp(np.clip((x[None, :] - x[:, None]) / unit, -MOST * np.log(2), MOST * np.log(2)))
    inside = np.abs(np.log2(expected)) < MOST - 2
    np.testing.assert_allclose(found[inside], expected[inside], rtol=tolerance)
    assert (np.abs(np.log2(found[~inside])) > MOST - 4).all()
    assert ((found > 1) == (expected > 1))[~inside].all()


@prepared
@pytest.mark.parametrize("unit", [1.0, 0.1, 3.7])
@pytest.mark.parametrize("spread", [1e-3, 1.0, 30.0, 1e3, 1e4])
def test_odds_of_many_scales_are_exact(spread, unit):
    x = (np.random.default_rng(int(spread)).normal(size=60) * spread).astype("float32")
    assert_near(of_pairs(x, unit), x, unit, 1e-6)


@prepared
@pytest.mark.parametrize("offset", [1e3, -1e4])
def test_small_differences_of_large_scores_are_exact(offset):
    x = (offset + np.arange(40) / 64).astype("float32")
    assert_near(of_pairs(x, 0.1), x, 0.1, 1e-6)


@prepared
def test_largest_scores_give_finite_odds():
    x = np.array([-np.inf, -3e38, -1e20, -1.0, 0.0, 1.0, 1e20, 3e38, np.inf], "float32")
    assert all(np.isfinite(values(y)).all() for y in powers(ops.convert_to_tensor(x), 0.1))
    found = of_pairs(x)
    assert np.isfinite(found).all()
    assert (found[3:6, 6:] > 1e29).all()  # at the limit of the odds
    assert (found[6:, 3:6] < 1e-29).all()


@prepared
def test_nan_marks_padding():
    each = powers(ops.convert_to_tensor(np.array([1.0, np.nan], "float32")))
    assert len(each) == 3
    for x in each:
        assert np.isnan(values(x)).tolist() == [False, True]


@pytest.mark.skipif(not DOUBLE, reason="JAX computes in float32")
def test_float64_scores_have_no_powers():
    assert powers(ops.convert_to_tensor(np.zeros(3))) == ()


def assert_right(found, expected, tolerance, least):
    for one, number in zip(found, expected, strict=False):
        tiny = np.abs(number) < least
        np.testing.assert_allclose(one[~tiny], number[~tiny], rtol=tolerance)
        assert (np.abs(one[tiny]) < 10 * least).all()


X = np.concatenate([np.linspace(-30, 30, 4001), [-1e4, -300.0, 60.0, 300.0, 0.0]])


@each_term
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_terms_match_numpy(term, dtype):
    if dtype == "float64" and not DOUBLE:
        pytest.skip("JAX computes in float32")
    x = X.astype(dtype)
    found = [values(y) for y in term(ops.convert_to_tensor(x))]
    # e^-x has an error of |x| units in the last place.
    tolerance, least = (4e-6, 1e-37) if dtype == "float32" else (1e-14, 1e-300)
    assert_right(found, TERMS[term](x.astype("float64")), tolerance, least)


@prepared
@each_term
def test_terms_from_odds_match_numpy(term):
    x = X.astype("float32")
    ratio = np.exp(np.clip(-x.astype("float64"), -69, 69)).astype("float32")
    *found, reverse = [values(y) for y in term.of_odds(ops.convert_to_tensor(x), ops.convert_to_tensor(ratio))]
    assert_right(found, TERMS[term](x.astype("float64")), 1e-6, 1.1e-30)
    assert_right([reverse], TERMS[term](-x.astype("float64"))[:1], 1e-6, 1.1e-30)
