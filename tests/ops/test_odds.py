"""e^(x_j - x_i) from one exponential per document against float64 NumPy."""

import numpy as np
import pytest
from keras import ops
from scipy.special import expit

from losses.numeric import DOUBLE, values
from ml4ir_losses.ops.compiling import compiled
from ml4ir_losses.ops.odds import odds, powers
from ml4ir_losses.ops.pairs import Logistic, SoftZeroOne

LARGEST = 3.0e38


def of_pairs(x, unit, prepared):
    """odds of all pairs of x [N] as compiled kernels see them."""

    def every(x):
        each = powers(x, unit) if prepared else ()
        rows, columns = [y[:, None] for y in each], [y[None, :] for y in each]
        return odds((x[:, None] - x[None, :]) / unit, rows, columns)

    return values(compiled(every)(ops.convert_to_tensor(x)))


def exact(x, unit, most):
    x = np.asarray(x, "float64")
    x = np.where(np.isinf(x), np.sign(x) * 1e300, x)
    return np.exp(np.clip((x[None, :] - x[:, None]) / unit, -most * np.log(2), most * np.log(2)))


def near(found, expected, tolerance, most):
    """Relatively where |log2| is below `most`; beyond, at least that far."""
    inside = np.abs(np.log2(expected)) < most - 2
    np.testing.assert_allclose(found[inside], expected[inside], rtol=tolerance)
    assert (np.abs(np.log2(found[~inside])) > most - 4).all()
    assert ((found > 1) == (expected > 1))[~inside].all()


@pytest.mark.parametrize("prepared", [True, False], ids=["powers", "plain"])
@pytest.mark.parametrize("unit", [1.0, 0.1, 3.7])
@pytest.mark.parametrize("spread", [1e-3, 1.0, 30.0, 1e3, 1e4])
def test_of_many_scales(spread, unit, prepared):
    x = np.random.default_rng(int(spread)).normal(size=60) * spread
    x = (np.round(x * 64) / 64).astype("float32") if spread > 1 else x.astype("float32")
    # A difference in float32 is right to 6e-8 of itself, and so is its exponent.
    near(of_pairs(x, unit, prepared), exact(x, unit, 100), 1e-5, 100)


@pytest.mark.parametrize("offset", [1e3, -1e4])
def test_small_differences_of_large_scores(offset):
    x = (offset + np.arange(40) / 64).astype("float32")
    near(of_pairs(x, 0.1, True), exact(x, 0.1, 100), 2e-6, 100)


@pytest.mark.backend("tensorflow", "jax")
def test_the_largest_scores():
    x = np.array([-np.inf, -LARGEST, -1e20, -1.0, 0.0, 1.0, 1e20, LARGEST, np.inf], "float32")
    each = [values(y) for y in powers(ops.convert_to_tensor(x), 0.1)]
    assert all(np.isfinite(y).all() for y in each)
    found = of_pairs(x, 1.0, True)
    assert np.isfinite(found).all()
    assert (found[3:6, 6:] > 1e30).all()  # as far apart as can be told
    assert (found[6:, 3:6] < 1e-30).all()


def test_nan_marks_padding():
    each = powers(ops.convert_to_tensor(np.array([1.0, np.nan], "float32")))
    for x in each:
        assert np.isnan(values(x)).tolist() == [False, True]


@pytest.mark.skipif(not DOUBLE, reason="JAX computes in float32")
def test_float64():
    x = np.random.default_rng(0).normal(size=60) * 100
    assert powers(ops.convert_to_tensor(x)) == ()
    near(of_pairs(x, 1.0, True), exact(x, 1.0, 990), 1e-12, 990)


@pytest.mark.parametrize("term", [Logistic(), SoftZeroOne()], ids=["logistic", "soft-zero-one"])
def test_terms_are_right_in_every_digit(term):
    x = np.concatenate([np.linspace(-30, 30, 4001), [-1e4, -300.0, 60.0]]).astype("float32")
    value, slope = (values(y) for y in term(ops.convert_to_tensor(x)))
    _, _, back = (values(y) for y in term.of_odds(ops.convert_to_tensor(x), odds(ops.convert_to_tensor(x), (), ())))
    x = x.astype("float64")
    if isinstance(term, Logistic):
        expected = np.logaddexp(0, -x), -expit(-x), -expit(x)
    else:
        expected = expit(-x), -expit(x) * expit(-x), -expit(x) * expit(-x)
    for found, number in zip((value, slope, back), expected, strict=True):
        tiny = np.abs(number) < 1e-28
        # e^-x itself is right to |x| digits of the last place.
        np.testing.assert_allclose(found[~tiny], number[~tiny], rtol=4e-6)
        assert (np.abs(found[tiny]) < 1e-27).all()
