"""Stripes of rows: a handwritten stripe function and smooth ranks against float64 NumPy."""

from dataclasses import dataclass

import numpy as np
import pytest
from keras import ops

from losses.numeric import DOUBLE, gradient, values
from ml4ir_losses.losses.factory import get_loss
from ml4ir_losses.ops.kernels import stripes
from ml4ir_losses.ops.kernels.stripes import Stripe, extents_of, stripe_sums
from ops.pair_oracles import expected, graph_of_unknown_shapes, make_lists
from selection import slow_except

SHAPE = (6, 24)
CASES = [("approx_ndcg", {"temperature": 1.0}), ("approx_mrr", {"temperature": 1.0})]  # they share kernels
SHAPES = [pytest.param(shape, marks=pytest.mark.slow) for shape in [(24, 24), (3, 1), (40, 7)]]
pytestmark = pytest.mark.usefixtures("small_stripes")


@dataclass(frozen=True)
class Moments(Stripe):
    """To rows Σ_j a_i·b_j and Σ_j b_j·step, to columns Σ_i a_i·b_j·step, Σ_i a_i² and Σ_i (a_i - b_j)."""

    def __call__(self, rows, columns, at_distance):
        (a, first), (b,) = rows, columns
        real = ops.logical_and(a == a, b == b)
        step = 1.0 if at_distance is None else at_distance
        whole = [a * b + 0.0 * first, b * step, a * b * step, a * a + 0.0 * b, a - b]
        whole = [ops.where(real, x, 0.0) for x in whole]
        return [ops.sum(x, axis=2) for x in whole[:2]], [ops.sum(x, axis=1) for x in whole[2:]]


def moments(rows, columns, first_row, steps):
    """The same sums in NumPy, list by list; NaN marks padding."""
    height, width = rows.shape[1], columns.shape[1]
    found = [np.zeros(rows.shape) for _ in range(2)] + [np.zeros(columns.shape) for _ in range(3)]
    for b, (one, other) in enumerate(zip(rows, columns, strict=True)):
        for i in range(height):
            for j in range(width):
                if np.isnan(one[i]) or np.isnan(other[j]):
                    continue
                step = 1.0 if steps is None else steps[abs(first_row + i - j)]
                found[0][b, i] += one[i] * other[j]
                found[1][b, i] += other[j] * step
                found[2][b, j] += one[i] * other[j] * step
                found[3][b, j] += one[i] ** 2
                found[4][b, j] += one[i] - other[j]
    return found


def by_hand(shape, first=0, last=None, tabled=True, dtype="float32", seed=0):
    """`stripe_sums` of the moments of the documents first .. last - 1 as rows and all as columns, and as expected."""
    rng = np.random.default_rng(seed)
    lists = make_lists(*shape, seed=seed)
    columns = np.where(lists.mask, rng.normal(size=shape), np.nan).astype(dtype)
    rows = (np.where(lists.mask, rng.normal(size=shape), np.nan).astype(dtype))[:, first:last]
    steps = rng.normal(size=shape[1]).astype(dtype) if tabled else None
    given = [ops.convert_to_tensor(x) for x in (rows, rows, columns)]
    table = None if steps is None else ops.convert_to_tensor(steps)
    extents = extents_of(ops.convert_to_tensor(lists.mask))
    found = stripe_sums(Moments(), (2, 3), given[:2], given[2:], extents, first_row=first, distance_table=table)
    return [values(x) for x in found], moments(rows.astype("float64"), columns.astype("float64"), first, steps)


def assert_equal(found, reference, tolerance=1e-5):
    for actual, number in zip(found, reference, strict=True):
        assert actual.shape == number.shape
        np.testing.assert_allclose(actual, number, rtol=0, atol=tolerance * max(1.0, np.abs(number).max()))


class TestByHand:
    @pytest.mark.parametrize(
        "shape", slow_except([SHAPE, (30, 16), (24, 24), (3, 1)], SHAPE, (30, 16), (3, 1)), ids=str
    )
    def test_sums_of_rows_and_columns_match_numpy(self, shape):
        for seed in range(3):
            assert_equal(*by_hand(shape, seed=seed))

    @pytest.mark.parametrize(
        ("first", "last"),
        [pytest.param(0, 5, marks=pytest.mark.slow), (5, None), pytest.param(23, None, marks=pytest.mark.slow)],
    )
    def test_some_documents_as_rows_match_numpy(self, first, last):
        for seed in range(3):
            assert_equal(*by_hand(SHAPE, first, last, seed=seed))

    def test_stripes_without_a_distance_table_match_numpy(self):
        assert_equal(*by_hand(SHAPE, tabled=False))

    @pytest.mark.skipif(not DOUBLE, reason="JAX computes in float32")
    def test_float64_gives_float64_sums(self):
        assert_equal(*by_hand(SHAPE, dtype="float64"), tolerance=1e-13)

    @pytest.mark.parametrize("size", [1, 64, 512, 10**6])
    def test_stripe_size_does_not_change_the_sums(self, size, stripe_size):
        with stripe_size(size):
            assert_equal(*by_hand(SHAPE, seed=5))

    def test_small_batches_take_one_stripe(self, stripe_size, monkeypatch):
        with stripe_size(160, dense=10**6):
            monkeypatch.setattr(stripes, "compiled", None)
            assert_equal(*by_hand(SHAPE))
            assert_equal(*by_hand(SHAPE, 5))

    def test_accelerators_take_a_batch_as_one_stripe(self, stripe_size, monkeypatch):
        with stripe_size(160):
            monkeypatch.setattr("ml4ir_losses.ops.kernels.stripes.has_accelerator", lambda: True)
            monkeypatch.setattr(
                "ml4ir_losses.ops.kernels.stripes._ONE_STRIPE", dict.fromkeys(("tensorflow", "jax", "torch"), 10**6)
            )
            monkeypatch.setattr("ml4ir_losses.ops.kernels.stripes.loop", None)
            assert_equal(*by_hand(SHAPE))
            assert_equal(*by_hand(SHAPE, 5, tabled=False))

    def test_padding_behind_the_extents_is_not_read(self):
        """Documents beyond the extents are skipped."""
        given = [ops.convert_to_tensor(x) for x in np.ones((2, 4, 24), "float32")]
        extents = ops.convert_to_tensor(np.array([24, 6, 0, 3], "int32"))
        near = ops.convert_to_tensor(np.ones(24, "float32"))
        found = stripe_sums(Moments(), (2, 3), given, given[:1], extents, distance_table=near)
        assert values(found[0])[0].tolist() == [24.0] * 24
        assert values(found[0])[1, 12:].tolist() == [0.0] * 12


@dataclass(frozen=True)
class Gaps(Stripe):
    """For each document i: Σ_j (a_i - a_j)³·step and Σ_j a_i·a_j²."""

    def __call__(self, rows, columns, at_distance):
        (a,), (b,) = rows, columns
        step = 1.0 if at_distance is None else at_distance
        gap = (a - b) ** 3 * step
        of_rows, of_columns = (
            [ops.where(a + b == a + b, x, 0.0) for x in both] for both in ((gap, a * b * b), (-gap, a * a * b))
        )
        return [ops.sum(x, axis=2) for x in of_rows], [ops.sum(x, axis=1) for x in of_columns]


class TestMirrored:
    """Sums of which only one of the pairs (i, j) and (j, i) is computed."""

    @pytest.mark.parametrize("tabled", [True, False], ids=["distances", "no-distances"])
    def test_lists_of_one_to_five_tiles_match_numpy(self, tabled):
        rng = np.random.default_rng(0)
        lengths = [0, 1, 7, 8, 9, 16, 17, 24, 31, 32, 33, 40]  # tiles of 8
        steps = rng.normal(size=40).astype("float32")
        numbers = rng.normal(size=(len(lengths), 40)).astype("float32")
        numbers[np.arange(40) >= np.array(lengths)[:, None]] = np.nan
        numbers[-1, 3:12] = np.nan
        documents = [ops.convert_to_tensor(numbers)]
        extents = ops.convert_to_tensor(np.array(lengths, "int32"))
        table = ops.convert_to_tensor(steps) if tabled else None
        found = stripe_sums(Gaps(), (2, 2), documents, documents, extents, distance_table=table, mirrored=True)
        at_distance = steps[np.abs(np.arange(40)[:, None] - np.arange(40))] if tabled else 1.0
        a, b = numbers[:, :, None].astype("float64"), numbers[:, None, :].astype("float64")
        reference = [np.nansum(x, axis=2) for x in ((a - b) ** 3 * at_distance, a * b**2)]
        assert_equal([values(x) for x in found], reference)


def test_extents_count_leading_valid_documents():
    mask = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1], [1, 1, 1, 1]], dtype=bool)
    assert values(extents_of(ops.convert_to_tensor(mask))).tolist() == [3, 0, 4, 4]


def test_empty_batch_gives_empty_sums(stripe_size):
    nothing = np.zeros((0, 4), "float32")
    with stripe_size(160, dense=10):
        for key in ("pairwise_logistic", "circle", "prob_margin_ranking"):
            loss = get_loss(key)
            assert values(loss.per_query(nothing, nothing)).shape == (0,)
            assert gradient(lambda x, loss=loss: loss.per_query(nothing, x), nothing).shape == (0, 4)


def both(key, params, lists, weighted, dtype):
    loss, scores = get_loss(key, **params), lists.scores.astype(dtype)
    labels, weight = (ops.convert_to_tensor(x.astype(dtype)) for x in (lists.labels, lists.weight))

    def function(scores):
        return loss.per_query(labels, scores, weight if weighted else None, ops.convert_to_tensor(lists.mask))

    return values(function(ops.convert_to_tensor(scores))), gradient(function, scores)


def check(key, params, shape, spread, weighted, dtype, tolerance):
    lists = make_lists(*shape, spread)
    found = both(key, params, lists, weighted, dtype)
    for actual, number in zip(found, expected(key, lists, weighted, params), strict=True):
        np.testing.assert_allclose(actual, number, rtol=0, atol=tolerance * max(1e-3, np.abs(number).max()))
    assert not found[1][~lists.mask].any()


@pytest.mark.parametrize(("key", "params"), CASES, ids=lambda x: x if isinstance(x, str) else "")
class TestSmoothRanks:
    @pytest.mark.parametrize("shape", [SHAPE, *SHAPES], ids=str)
    @pytest.mark.parametrize("weighted", [True, False], ids=["weights", "no-weights"])
    def test_values_and_gradients_match_numpy(self, key, params, shape, weighted):
        for spread in (1.0, 100.0, 1e4):
            check(key, params, shape, spread, weighted, "float32", 1e-5)

    @pytest.mark.skipif(not DOUBLE, reason="JAX computes in float32")
    def test_float64_gives_float64_sums(self, key, params):
        for spread in (1.0, 1e4):
            check(key, params, SHAPE, spread, True, "float64", 1e-12)

    @pytest.mark.slow
    @pytest.mark.parametrize("size", [64, 512])
    def test_stripe_size_does_not_change_the_value(self, key, params, size, stripe_size):
        with stripe_size(size):
            check(key, params, SHAPE, 1.0, True, "float32", 1e-5)

    @pytest.mark.backend("tensorflow")
    @pytest.mark.slow
    @pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
    def test_dynamic_shapes_equal_static_shapes(self, key, params, jit, stripe_size):
        loss = get_loss(key, **params)

        def per_query(labels, scores, mask):
            return loss.per_query(labels, scores, None, mask)

        graph = graph_of_unknown_shapes(per_query, ("float32", "float32", "bool"), jit)
        with stripe_size(160, dense=100):
            for shape in ((2, 5), SHAPE):  # dense, and in stripes
                lists = make_lists(*shape)
                found = graph(*(x.astype("float32") for x in lists[:2]), lists.mask)
                for actual, number in zip(found, expected(key, lists, False, params), strict=True):
                    np.testing.assert_allclose(values(actual), number, rtol=0, atol=1e-5 * np.abs(number).max())
