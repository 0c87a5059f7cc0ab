"""Values and gradients against independent float64 loops, for every key, parameter and shape."""

import numpy as np
import pytest

from losses.cases import Batch, case_of, make_batch, oracle, oracle_slopes, pure, rows_are_independent
from losses.numeric import BACKEND, DOUBLE, assert_close, gradient, value_and_gradient, values
from selection import each_loss, each_variant

each_weighting = pytest.mark.parametrize("weighted", [True, False], ids=["weights", "no-weights"])
each_rare_shape = pytest.mark.parametrize(
    ("rows", "weighted"),
    [
        pytest.param(6, True, id="B6N6-weights"),
        pytest.param(1, True, id="B1N6-weights"),
        pytest.param(6, False, id="B6N6-no-weights", marks=pytest.mark.slow),
        pytest.param(1, False, id="B1N6-no-weights", marks=pytest.mark.slow),
    ],
)


def expected(key, batch, scores, weighted, params):
    return oracle(key, batch, scores, weighted, **params)


def check_values(key, params, weighted, rows, seed=0):
    batch = make_batch(key, seed, rows)
    actual = values(pure(key, batch, weighted, **params)(batch.scores))
    assert_close(actual, expected(key, batch, batch.scores, weighted, params))


@each_variant()
@each_weighting
def test_values_match_the_oracle(key, params, weighted):
    check_values(key, params, weighted, 20)


@pytest.mark.slow_on("jax", "torch")  # shapes are broadcast in the same way on every backend
@each_variant(quick="key")
@each_rare_shape
def test_values_of_square_batches_and_of_single_lists(key, params, rows, weighted):
    """B = N: some broadcasts along the wrong axis fail only for B ≠ N, others are wrong only for B = N."""
    for seed in range(3 if rows == 1 else 1):
        check_values(key, params, weighted, rows, seed)


@each_variant(elsewhere="key")
def test_values_and_gradients_match_the_oracle(key, params):
    batch = make_batch(key, seed=5, ties=case_of(key).smooth)
    slopes = oracle_slopes(key, batch, **params)
    assert np.abs(slopes).max() > 0.01
    value, actual = value_and_gradient(pure(key, batch, **params), batch.scores)
    assert_close(value, expected(key, batch, batch.scores, True, params))
    assert_close(actual, slopes, double=1e-7, single=1e-4)


@each_loss(lambda case: case.smooth and case.layout != "embeddings")
@pytest.mark.parametrize("size", [6, 64], ids=["N6", "N64"])
def test_gradients_at_equal_scores_match_the_oracle(key, size):
    """Training starts here, and max(x, 0) and logaddexp(x, x) have one-sided gradients."""
    batch = make_batch(key, seed=6, rows=2, size=size, padded=False)
    batch = batch._replace(scores=np.zeros_like(batch.scores))
    size = batch.scores.shape[1]
    # a few documents are enough: two oracle calls each, of a single row where its value does not depend on others
    slopes = np.zeros_like(batch.scores)
    last = (0,) * (batch.scores.ndim - 2)
    chosen = [(*place, *last) for place in [(0, 0), (0, 3), (0, size // 2), (1, 1), (1, size - 1)]]
    chosen = chosen[::2] if case_of(key).random else chosen  # slow, because it samples
    for place in chosen:
        nudge = np.zeros_like(batch.scores)
        nudge[place] = 1e-5
        first = 0 if case_of(key).random else place[0]  # the fixed noise depends on the row
        some = slice(first, place[0] + 1) if rows_are_independent(key) else slice(None)
        part, nudge = Batch(*(x[some] for x in batch)), nudge[some]
        held = {"held": part.scores} if case_of(key).held else {}
        up, down = (expected(key, part, part.scores + sign * nudge, True, held) for sign in (1, -1))
        slopes[place] = (up - down).sum() / 2e-5
    actual = gradient(pure(key, batch), batch.scores)
    where = tuple(np.array(chosen).T)
    assert_close(actual[where], slopes[where], double=1e-6, single=1e-4)


@each_loss()
def test_scores_far_apart_give_finite_and_exact_values(key):
    """Scores up to ±1e4 and a spread of 1e4, in the float32 that training uses."""
    batch = make_batch(key, seed=7)
    rng = np.random.default_rng(7)
    far = [
        rng.choice([-1e4, -100.0, 0.0, 3.0, 100.0, 1e4], batch.scores.shape),
        np.round(batch.scores) - 1e4,
        np.round(batch.scores) + 1e4,
    ]
    if case_of(key).layout == "embeddings":  # long and short ones: far from the origin float32 cannot resolve angles
        far = [np.float32(batch.scores * length).astype("float64") for length in (1e2, 1e-2)]
    parts = [(scores, batch) for scores in far]
    if rows_are_independent(key):  # as one batch
        parts = [(np.concatenate(far), Batch(*(np.concatenate([x] * len(far)) for x in batch)))]
    tolerance = 2 * SLOPE if case_of(key).random else SLOPE  # noise added to scores of 1e4 has a resolution of 1e-3
    for scores, several in parts:
        function = pure(key, several)
        found = value_and_gradient(function, scores.astype("float32"))
        wanted = expected(key, several, scores, True, {}), gradient(function, scores)
        assert np.isfinite(found[1]).all()
        for start in range(0, len(scores), len(batch.scores)):  # each relative to its own largest number
            rows = slice(start, start + len(batch.scores))
            for actual, right, share in zip(found, wanted, (2e-6, tolerance), strict=True):
                atol = share * max(1.0, np.abs(right[rows]).max())
                np.testing.assert_allclose(actual[rows], right[rows], rtol=1e-7 if share == tolerance else 0, atol=atol)


# torch differentiates logsumexp through its value, which has that resolution; the others through exp(x - max).
SLOPE = 2e-4 if BACKEND == "torch" else 2e-5


@each_loss(elsewhere="key")
def test_float64_scores_give_float64_values(key):
    if not DOUBLE:
        pytest.skip("JAX computes in float32")
    batch = make_batch(key)
    assert "float64" in str(pure(key, batch)(batch.scores).dtype)
