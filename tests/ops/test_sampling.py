"""Gumbel noise: distribution, seeds, finiteness."""

import math

import keras
import numpy as np
import pytest
from keras import ops as K

from losses.numeric import DOUBLE, values
from ml4ir_losses.ops.sampling import gumbel_noise

LIKE = np.zeros((40, 50), dtype="float32")
SAMPLES = 100  # 200,000 draws determine the mean to 0.003, the variance to 0.008


def draw(seed=3, like=LIKE, samples=SAMPLES):
    return values(gumbel_noise(K.convert_to_tensor(like), samples, seed))


class TestDistribution:
    def test_mean_and_variance_match_the_formula(self):
        noise = draw()
        assert noise.shape == (SAMPLES, 40, 50)
        assert noise.mean() == pytest.approx(np.euler_gamma, abs=0.015)
        assert noise.var() == pytest.approx(math.pi**2 / 6, abs=0.04)

    def test_distribution_function_matches_the_formula(self):
        """exp(-exp(-x)), to 0.004: the Kolmogorov-Smirnov bound at 1% is 0.0036."""
        noise = np.sort(draw().ravel())
        share = np.arange(1, noise.size + 1) / noise.size
        assert np.abs(share - np.exp(-np.exp(-noise))).max() < 0.004

    def test_largest_sample_follows_the_softmax(self):
        """argmax(s + G) is i with the probability softmax(s)_i."""
        scores = np.log([0.5, 0.3, 0.15, 0.05])
        noise = draw(like=np.zeros((500, 4), dtype="float32"))
        shares = np.bincount((scores + noise).argmax(axis=-1).ravel(), minlength=4) / (500 * SAMPLES)
        np.testing.assert_allclose(shares, np.exp(scores), atol=0.01)

    def test_samples_rows_and_columns_are_independent(self):
        noise = draw()
        for axis in range(3):
            first, second = (np.take(noise, i, axis=axis).ravel() for i in (0, 1))
            assert abs(np.corrcoef(first, second)[0, 1]) < 0.07
        assert len(np.unique(noise)) > 0.95 * noise.size

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("share", ["least", "most"])
    def test_ends_of_the_uniform_draw_give_finite_noise(self, monkeypatch, dtype, share):
        """ln 0 never occurs, although uniform draws include their lower end."""
        if dtype == "float64" and not DOUBLE:
            pytest.skip("JAX computes in float32")

        def uniform(shape, minval=0.0, maxval=1.0, dtype=None, seed=None):
            assert dtype == "float32"
            end = np.float32(minval) if share == "least" else np.nextafter(np.float32(maxval), np.float32(0))
            return K.full(shape, end, dtype=dtype)

        monkeypatch.setattr(keras.random, "uniform", uniform)
        noise = draw(like=LIKE.astype(dtype), samples=2)
        assert np.isfinite(noise).all()
        expected = -math.log(37 * math.log(10)) if share == "least" else 24 * math.log(2)
        np.testing.assert_allclose(noise, expected, rtol=1e-6)


class TestTypes:
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_dtype_is_kept(self, dtype):
        if dtype == "float64" and not DOUBLE:
            pytest.skip("JAX computes in float32")
        noise = gumbel_noise(K.convert_to_tensor(LIKE, dtype), 2, 1)
        assert dtype in str(noise.dtype)
        assert np.isfinite(values(noise)).all()

    def test_float64_scores_get_the_same_noise_as_float32(self):
        np.testing.assert_allclose(draw(like=LIKE.astype("float64")), draw(), rtol=1e-4, atol=1e-6)

    @pytest.mark.backend("tensorflow")
    @pytest.mark.parametrize("jit", [False, True])
    def test_dynamic_sizes_equal_static_sizes(self, jit):
        import tensorflow as tf

        generator = keras.random.SeedGenerator(5)
        signature = [tf.TensorSpec([None, None], tf.float32)]
        graph = tf.function(lambda x: gumbel_noise(x, 3, generator), input_signature=signature, jit_compile=jit)
        first, second = values(graph(LIKE)), values(graph(LIKE))
        assert first.shape == (3, 40, 50)
        assert np.isfinite(first).all()
        assert (first != second).mean() > 0.99
        assert values(graph(LIKE[:2, :7])).shape == (3, 2, 7)


class TestSeeds:
    def test_equal_seeds_give_equal_draws(self):
        np.testing.assert_array_equal(draw(7), draw(7))
        assert (draw(7) != draw(8)).mean() > 0.99

    def test_a_generator_advances_and_repeats(self):
        first, second = (keras.random.SeedGenerator(7) for _ in range(2))
        draws = [draw(first, samples=2) for _ in range(3)]
        assert all((a != b).mean() > 0.99 for a, b in zip(draws, draws[1:] + draws[:1], strict=True))
        for before in draws:
            np.testing.assert_array_equal(draw(second, samples=2), before)

    def test_none_draws_anew_and_follows_the_global_seed(self):
        assert (draw(None, samples=2) != draw(None, samples=2)).mean() > 0.99
        repeated = []
        for _ in range(2):
            keras.utils.set_random_seed(11)
            repeated.append(draw(None, samples=2))
        np.testing.assert_array_equal(*repeated)

    def test_samples_differ_from_each_other(self):
        noise = draw(samples=4)
        for i, j in [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]:
            assert (noise[i] != noise[j]).mean() > 0.99
