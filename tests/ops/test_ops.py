"""Masked tensor maths: tail sums, orders, safe division, normalisation, masks."""

import math

import numpy as np
import pytest
from keras import ops as K

from losses.numeric import BACKEND, DOUBLE, assert_close, central_differences, gradient, values
from ml4ir_losses import ops
from ml4ir_losses.ops.backend import cumulative_sum
from ml4ir_losses.ops.sorting import inverse_order
from ml4ir_losses.ops.tail_sums import plackett_luce
from selection import slow_except

# JAX compiles for every length.
LENGTHS = [*range(1, 101), 1000] if BACKEND != "jax" else [1, 2, 31, 32, 33, 64, 65, 100, 1000]


def tail_sums(x):
    """log Σ_{j≥i} exp(x_j - x_i) by a loop, each tail relative to its own maximum."""
    out = np.empty(x.shape)
    for place in np.ndindex(x.shape):
        tail = x[place[0], place[1] :].astype("float64")
        out[place] = tail.max() - tail[0] + math.log(math.fsum(math.exp(v - tail.max()) for v in tail))
    return out


class TestTailSums:
    @pytest.mark.parametrize("spread", slow_except([1.0, 1e4], 1.0))
    def test_tail_sums_of_every_length_match_numpy(self, spread):
        rng = np.random.default_rng(0)
        for size in LENGTHS:
            x = (rng.normal(size=(2, size)) * spread).astype("float32")
            np.testing.assert_allclose(values(ops.tail_sums(x)), tail_sums(x), rtol=3e-7, atol=3e-6)

    @pytest.mark.parametrize("size", [1, 31, 32, 33, 64, 65, 100])
    @pytest.mark.parametrize("direction", [1, -1])
    def test_steep_scores_give_exact_tail_sums(self, size, direction):
        """With one shift per list exp would underflow in one direction."""
        x = (direction * np.linspace(-1e4, 1e4, size)[None]).astype("float32")
        np.testing.assert_allclose(values(ops.tail_sums(x)), tail_sums(x), rtol=3e-7, atol=3e-6)

    @pytest.mark.parametrize("size", [1, 5, 32, 64, 70])
    @pytest.mark.parametrize("constant", [True, False])
    def test_gradient_matches_numpy(self, size, constant):
        """Also for equal scores, where the sum of a block equals the sum of the blocks behind it."""
        rng = np.random.default_rng(1)
        x = np.zeros((1, size)) if constant else rng.normal(size=(1, size))
        factor = rng.normal(size=(1, size))
        slopes = central_differences(lambda z: factor * tail_sums(z), x)
        assert_close(
            gradient(lambda z: ops.tail_sums(z) * K.convert_to_tensor(factor), x),
            slopes,
            double=1e-7,
            single=1e-5,
        )

    def test_masked_positions_are_ignored(self):
        x = np.array([[1.0, 2.0, 0.5, 0.0]], dtype="float32")
        masked = np.where([[True, True, False, False]], x, ops.lowest(K.convert_to_tensor(x))).astype("float32")
        np.testing.assert_allclose(values(ops.tail_sums(masked))[:, :2], tail_sums(x[:, :2]), rtol=1e-6, atol=1e-6)
        nothing = np.full((1, 40), ops.lowest(K.convert_to_tensor(x)), dtype="float32")
        assert np.isfinite(values(ops.tail_sums(nothing))).all()
        assert np.isfinite(gradient(ops.tail_sums, nothing)).all()

    @pytest.mark.backend("tensorflow")
    @pytest.mark.parametrize("jit", [False, True])
    def test_dynamic_shapes_equal_static_shapes(self, jit):
        import tensorflow as tf

        signature = [tf.TensorSpec([None, None], tf.float32)]
        graph = tf.function(ops.tail_sums, input_signature=signature, jit_compile=jit)
        for size in (1, 32, 50):
            x = np.random.default_rng(size).normal(size=(3, size)).astype("float32")
            np.testing.assert_allclose(values(graph(x)), tail_sums(x), rtol=1e-6, atol=1e-6)

    def test_nan_in_one_list_leaves_the_others_exact(self):
        """Both lists are so steep that one maximum per list is not enough."""
        x = np.linspace(1e3, -1e3, 40, dtype="float32") * np.ones((2, 1), dtype="float32")
        x[0, 7] = np.nan
        found = values(ops.tail_sums(x))
        assert np.isnan(found[0, :8]).all()
        np.testing.assert_allclose(found[1:], tail_sums(x[1:]), rtol=3e-7, atol=3e-6)


class TestPlackettLuce:
    @pytest.mark.parametrize(("rows", "size"), [(1, 1), (3, 7), (40, 120)])
    @pytest.mark.parametrize("spread", [1.0, 1e4])
    def test_values_and_gradients_match_numpy(self, rows, size, spread):
        rng = np.random.default_rng(size)
        x, weight = spread * rng.normal(size=(rows, size)), rng.random((rows, size))
        order, upstream = rng.permuted(np.tile(np.arange(size), (rows, 1)), axis=1), rng.normal(size=rows)
        dtype = "float64" if DOUBLE else "float32"
        x = x.astype("float32").astype("float64")  # the same numbers in both
        ordered = np.take_along_axis(x, order, axis=1)
        expected = (weight * tail_sums(ordered)).sum(axis=1)
        # share[b, r, q]: share of the document at rank q among those from rank r on
        share = np.exp(np.minimum(ordered[:, None, :] - (tail_sums(ordered) + ordered)[:, :, None], 0.0))
        share *= np.arange(size)[None, :] >= np.arange(size)[:, None]
        slopes = np.zeros_like(x)
        np.put_along_axis(slopes, order, np.einsum("br,brq->bq", weight, share) - weight, axis=1)

        def model(scores):
            weights, factor = (K.convert_to_tensor(part.astype(dtype)) for part in (weight, upstream))
            return factor * plackett_luce(scores, K.convert_to_tensor(order), weights)

        found = values(model(K.convert_to_tensor(x.astype(dtype))))
        np.testing.assert_allclose(found, upstream * expected, rtol=1e-12 if DOUBLE else 1e-5)
        assert_close(gradient(model, x), upstream[:, None] * slopes, double=1e-9, single=1e-3)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("size", [1, 31, 32, 33, 100])
def test_cumulative_sums_match_numpy(size, reverse):
    x = np.random.default_rng(size).random((3, size))
    expected = np.cumsum(x[:, ::-1], axis=1)[:, ::-1] if reverse else np.cumsum(x, axis=1)
    found = cumulative_sum(K.convert_to_tensor(x.astype("float64" if DOUBLE else "float32")), reverse)
    np.testing.assert_allclose(values(found), expected, rtol=1e-13 if DOUBLE else 1e-6)


class TestOrder:
    def test_ties_keep_their_order_and_padding_comes_last(self):
        keys = np.array([[1.0, 3.0, 1.0, 3.0, 9.0, 1.0]], dtype="float32")
        mask = np.array([[1, 1, 1, 1, 0, 1]], dtype=bool)
        order = values(ops.descending_order(keys, mask))
        assert order.tolist() == [[1, 3, 0, 2, 5, 4]]
        ordered = ops.gather_documents(keys, K.convert_to_tensor(order.astype("int32")))
        assert values(ordered).tolist() == [[3, 3, 1, 1, 1, 9]]
        ranks = ops.ranks(keys, mask)
        assert "int32" in str(ranks.dtype)
        assert values(ranks).tolist() == [[3, 1, 4, 2, 6, 5]]

    def test_many_ties_keep_their_order(self):
        keys = np.random.default_rng(0).integers(0, 3, (5, 200)).astype("float32")
        mask = np.random.default_rng(1).random((5, 200)) < 0.8
        expected = np.argsort(np.where(mask, -keys, np.inf), axis=-1, kind="stable")
        np.testing.assert_array_equal(values(ops.descending_order(keys, mask)), expected)

    @pytest.mark.parametrize("shape", [(5, 7), (7, 7), (1, 9), (3, 1), (0, 4)])
    def test_inverse_order_undoes_the_order(self, shape):
        order = np.random.default_rng(0).permuted(np.tile(np.arange(shape[1]), (shape[0], 1)), axis=1)
        inverse = inverse_order(K.convert_to_tensor(order))
        assert "int32" in str(inverse.dtype)
        np.testing.assert_array_equal(values(inverse), np.argsort(order, axis=1))

    def zeros(self):
        keys = np.zeros((1, 6), dtype="float32")
        keys[0, [1, 4]] = -0.0
        return keys, np.ones((1, 6), dtype=bool)

    def test_negative_zero_is_zero(self):
        assert values(ops.descending_order(*self.zeros())).tolist() == [[0, 1, 2, 3, 4, 5]]

    @pytest.mark.backend("tensorflow")
    def test_negative_zero_is_zero_under_xla(self):
        """XLA sorts -0.0 before 0.0."""
        import tensorflow as tf

        graph = tf.function(ops.descending_order, jit_compile=True)
        assert values(graph(*map(tf.constant, self.zeros()))).tolist() == [[0, 1, 2, 3, 4, 5]]
        naive = tf.function(lambda keys: K.argsort(-keys, axis=-1), jit_compile=True)
        assert values(naive(tf.constant(self.zeros()[0]))).tolist() != [[0, 1, 2, 3, 4, 5]]

    def test_infinite_scores_are_ordered(self):
        keys = np.array([[-3e38, 3e38, 0.0]], dtype="float32")
        assert values(ops.ranks(keys, np.array([[True, True, False]]))).tolist() == [[2, 1, 3]]


class TestDivision:
    def test_division_by_zero_gives_zero(self):
        actual = values(ops.safe_divide(np.array([1.0, 0.0, 5.0, -2.0]), np.array([4.0, 0.0, 0.0, -0.0])))
        assert actual.tolist() == [0.25, 0, 0, 0]

    def test_gradient_of_division_by_zero_is_zero(self):
        """1/d and -n/d² where d is not 0; exactly 0, and no NaN, where it is."""
        numerator, denominator = np.array([3.0, 3.0, 0.0]), np.array([2.0, 0.0, 0.0])
        assert_close(gradient(lambda n: ops.safe_divide(n, denominator), numerator), [0.5, 0, 0])
        assert_close(gradient(lambda d: ops.safe_divide(K.convert_to_tensor(numerator), d), denominator), [-0.75, 0, 0])

    def test_nan_is_kept(self):
        assert np.isnan(values(ops.safe_divide(np.array([np.nan]), np.array([1.0])))).all()


class TestNormalise:
    TOTAL, WEIGHT = np.array([6.0, 2.0, 0.0]), np.array([3.0, 1.0, 0.0])

    @pytest.mark.parametrize(("mode", "expected"), [("query", [2, 2, 0]), ("batch", [4.5, 1.5, 0]), ("sum", [6, 2, 0])])
    def test_values_by_hand(self, mode, expected):
        assert_close(values(ops.normalise(*map(K.convert_to_tensor, (self.TOTAL, self.WEIGHT)), mode)), expected)

    @pytest.mark.parametrize("mode", ops.NORMALIZATIONS)
    def test_zero_weight_gives_zero(self, mode):
        zeros = K.zeros((3,))
        assert values(ops.normalise(zeros, zeros, mode)).tolist() == [0, 0, 0]

    def test_list_weight_averages_document_weights(self):
        labels = np.array([[1.0, 3.0, 0.0], [0.0, 0.0, 0.0], [-2.0, 0.0, 1.0]])
        mask = np.array([[True, True, True], [True, True, False], [True, True, True]])
        weight = np.where(mask, [[1.0, 2.0, 9.0], [1.0, 4.0, 9.0], [7.0, 8.0, 9.0]], 0.0)
        actual = ops.list_weight(*map(K.convert_to_tensor, (labels, mask, weight)))
        assert_close(values(actual), [7 / 4, 5 / 2, 9])


class TestMasking:
    def test_as_float_keeps_float64_and_widens_narrow_types(self):
        for dtype in ("float16", "bfloat16", "int32", "bool"):
            assert "float32" in str(ops.as_float(K.ones((2,), dtype=dtype)).dtype)
        if DOUBLE:
            assert "float64" in str(ops.as_float(np.ones(2)).dtype)

    @pytest.mark.parametrize("offset", [0.0, 1e4, -1e4, 1e6])
    def test_log_softmax_does_not_depend_on_an_offset(self, offset):
        """Integer scores are exact in float32 at all these offsets, so their softmax must be too."""
        x, mask = np.array([[3.0, 1.0, 50.0, 0.0]], dtype="float32"), np.array([[True, True, False, True]])
        expected = np.array([3.0, 1.0, 0.0]) - math.log(math.exp(3) + math.e + 1)
        actual = values(ops.masked_log_softmax(K.convert_to_tensor(x + np.float32(offset)), K.convert_to_tensor(mask)))
        np.testing.assert_allclose(actual[0, [0, 1, 3]], expected, rtol=1e-6)
        assert actual[0, 2] == 0

    @pytest.mark.parametrize("of", ["scores", "target"])
    def test_masked_cross_entropy_equals_the_sum_of_target_times_surprisal(self, of):
        rng = np.random.default_rng(0)
        mask = rng.random((3, 6)) < 0.7
        mask[0], mask[1, 0] = False, False  # a list without documents
        given = {"scores": 100.0 * rng.normal(size=(3, 6)), "target": mask * rng.random((3, 6))}
        upstream = np.array([1.0, -2.0, 0.5])

        def value(function):
            def of_input(x):
                inputs = {name: K.convert_to_tensor(part, dtype=x.dtype) for name, part in given.items()} | {of: x}
                return K.convert_to_tensor(upstream, dtype=x.dtype) * function(inputs["target"], inputs["scores"])

            return of_input

        found = value(lambda target, scores: ops.masked_cross_entropy(target, scores, mask))
        plain = value(lambda target, scores: K.sum(target * ops.surprisal(scores, K.convert_to_tensor(mask)), axis=-1))
        x = given[of]
        assert_close(
            values(found(K.convert_to_tensor(x))), values(plain(K.convert_to_tensor(x))), double=1e-9, single=1e-5
        )
        assert_close(gradient(found, x), gradient(plain, x), double=1e-9, single=1e-5)

    def test_below_top_subtracts_the_largest_valid_score(self):
        x, mask = np.array([[3.0, 5.0, 9.0], [1.0, 2.0, 3.0]]), np.array([[True, True, False], [False, False, False]])
        assert_close(values(ops.below_top(K.convert_to_tensor(x), K.convert_to_tensor(mask))), [[-2, 0, 0], [0, 0, 0]])

    def test_logsumexp_of_an_empty_mask_is_finite(self):
        x, nothing = K.convert_to_tensor(np.ones((1, 3))), K.zeros((1, 3), dtype="bool")
        assert np.isfinite(values(ops.masked_logsumexp(x, nothing))).all()
        assert (gradient(lambda z: ops.masked_logsumexp(z, nothing), np.ones((1, 3))) == 0).all()

    def test_where_finite_keeps_gradients_finite(self):
        x = np.array([4.0, np.nan, np.inf])
        actual = values(ops.where_finite(K.sqrt, K.convert_to_tensor(x), 1.0))
        np.testing.assert_array_equal(actual, [2, np.nan, np.inf])
        first = np.array([1.0, 0.0, 0.0])
        assert_close(gradient(lambda z: K.where(first > 0, ops.where_finite(K.sqrt, z, 1.0), 0.0), x), [0.25, 0, 0])

    def test_clean_replaces_padding(self):
        labels, scores, weight = (np.array([[1.0, np.nan]]) for _ in range(3))
        mask = np.array([[1, 0]])
        cleaned = ops.clean(labels, scores, mask, weight, temperature=0.5)
        assert [values(x).tolist() for x in cleaned] == [[[1, 0]], [[2, 0]], [[1, 0]], [[1, 0]]]
        assert values(ops.clean(labels, scores, mask)[3]).tolist() == [[1, 0]]
