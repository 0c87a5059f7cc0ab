"""Pair losses in compiled stripes against float64 NumPy, and both kinds of user-defined weights."""

from dataclasses import dataclass

import numpy as np
import pytest
from keras import ops

from losses.numeric import DOUBLE, assert_close, central_differences, gradient, value_and_gradient, values
from ml4ir_losses.losses.factory import get_loss
from ml4ir_losses.losses.lambda_weights import LambdaWeight
from ml4ir_losses.losses.pairwise import yeti_rank
from ml4ir_losses.losses.weighting_schemes import BaseWeightingScheme
from ops.pair_oracles import expected, graph_of_unknown_shapes, make_lists
from selection import slow_except

AT_5 = {"lambda_weight": {"key": "ndcg", "topn": 5, "smooth_fraction": 0.4}}
BASE = [("pairwise_logistic", {"lambda_weight": "ndcg"}), ("lambda_loss", {"weighting_scheme": "ndcg_loss1", "k": 13})]
CASES = [
    *BASE,
    ("pairwise_logistic", {}),
    ("pairwise_hinge", {"margin": 2.5}),
    ("pairwise_soft_zero_one", {}),
    ("pairwise_quantile", {"tau": 0.8}),
    ("pairwise_quantile", {"tau": 0.3, "squared": True}),
    ("pairwise_mse", {"lambda_weight": {"key": "ndcg_v2", "topn": 3}}),
    *[("lambda_loss", {"weighting_scheme": key}) for key in (None, "ndcg_loss2", "lambda_rank", "ndcg_loss2pp")],
    ("lambda_loss", {"weighting_scheme": {"key": "ndcg_loss2pp", "mu": 3.0}, "k": 9, "sigma": 2.0}),
    ("lambda_loss", {"weighting_scheme": None, "k": 3}),
    ("lambda_loss", {"weighting_scheme": "lambda_rank", "k": 7, "top_k_pairs": "both"}),
    *[("pairwise_logistic", {"lambda_weight": key}) for key in ("label_diff", "dcg", "ndcg_v2")],
    ("pairwise_logistic", AT_5),
    *[
        ("pairwise_logistic", {"lambda_weight": {"key": key, "topn": 4}})
        for key in ("ndcg_v2", "yeti_dcg", "precision")
    ],
    ("yeti_logistic", {"sample_size": 2, "gumbel_temperature": 2.0, **AT_5}),
]
SHAPE = (6, 24)
SHAPES = [(24, 24), (3, 1), (1, 17)]


def name_of(value):
    if isinstance(value, dict):
        return "-".join(name_of(v) for v in value.values()) or "plain"
    return str(value)


each_case = pytest.mark.parametrize(("key", "params"), CASES, ids=name_of)
each_base = pytest.mark.parametrize(("key", "params"), BASE, ids=name_of)
first_base = pytest.mark.parametrize(
    ("key", "params"), [BASE[0], pytest.param(*BASE[1], marks=pytest.mark.slow)], ids=name_of
)
pytestmark = pytest.mark.usefixtures("small_stripes")


def rows_of(key, params, lists, weighted=True, dtype="float32"):
    """A function from scores to per-query values."""
    loss = get_loss(key, normalization="sum", **params)
    labels, weight = (ops.convert_to_tensor(x.astype(dtype)) for x in (lists.labels, lists.weight))
    mask = ops.convert_to_tensor(lists.mask)

    def function(scores):
        return loss.per_query(labels, scores, weight if weighted else None, mask)

    return function


def known_noise(rows, size):
    return np.round(np.random.default_rng(9).gumbel(size=(2, rows, size)) * 8) / 8


def assert_right(found, lists, key, weighted, params, tolerance):
    """Both within the tolerance times the largest number; the gradient is 0 in padding."""
    noise = known_noise(*lists.mask.shape) if key == "yeti_logistic" else None
    for actual, number in zip(found, expected(key, lists, weighted, params, noise), strict=True):
        np.testing.assert_allclose(actual, number, rtol=0, atol=tolerance * max(1e-3, np.abs(number).max()))
    assert not found[1][~lists.mask].any()


def check(key, params, shape=SHAPE, spread=1.0, weighted=True, dtype="float32", tolerance=1e-5, seed=0):
    lists = make_lists(*shape, spread, seed)
    function, scores = rows_of(key, params, lists, weighted, dtype), lists.scores.astype(dtype)
    found = value_and_gradient(function, scores)
    assert_right(found, lists, key, weighted, params, tolerance)


@pytest.fixture(autouse=True)
def noise(monkeypatch):
    monkeypatch.setattr(yeti_rank, "gumbel_noise", lambda like, *_: ops.cast(known_noise(*like.shape), like.dtype))


@each_case
def test_values_and_gradients_match_numpy(key, params):
    for seed, spread in enumerate((1.0, 100.0, 1e4)):  # one shape, so that all share a kernel
        check(key, params, spread=spread, seed=seed)


@first_base
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_batches_of_many_shapes_match_numpy(key, params, shape):
    check(key, params, shape)


@each_base
def test_no_weights_equal_weights_of_one(key, params):
    check(key, params, weighted=False)


@each_base
@pytest.mark.skipif(not DOUBLE, reason="JAX computes in float32")
def test_float64_scores_give_float64_values(key, params):
    for spread in (1.0, 1e4):
        check(key, params, spread=spread, dtype="float64", tolerance=1e-12)


@pytest.mark.slow
@each_case
@pytest.mark.parametrize("shape", [SHAPE, *SHAPES, (40, 7), (2, 65)], ids=str)
@pytest.mark.parametrize("weighted", [True, False], ids=["weights", "no-weights"])
@pytest.mark.parametrize("size", [64, 512])
def test_all_pairs_match_numpy(key, params, shape, weighted, size, stripe_size):
    with stripe_size(size):
        check(key, params, shape, 10.0, weighted, seed=size)
        if DOUBLE:
            check(key, params, shape, 10.0, weighted, "float64", 1e-12, seed=size)


@first_base
@pytest.mark.parametrize("size", [64, 512])
def test_stripe_size_does_not_change_the_value(key, params, size, stripe_size):
    with stripe_size(size):
        check(key, params, seed=4)


@first_base
def test_bfloat16_scores_give_float32_values(key, params):
    lists = make_lists(*SHAPE)
    function = rows_of(key, params, lists)

    def rounded(scores):
        return function(ops.cast(scores, "bfloat16"))  # these scores are exact in bfloat16

    scores = lists.scores.astype("float32")
    found = value_and_gradient(rounded, scores)
    assert_right((found[0], gradient(function, scores)), lists, key, True, params, 1e-5)
    assert_right(found, lists, key, True, params, 5e-3)  # gradients are rounded to bfloat16


@pytest.mark.backend("tensorflow")
@first_base
@pytest.mark.parametrize("jit", slow_except([False, True], False), ids=["graph", "xla"])
def test_dynamic_shapes_equal_static_shapes(key, params, jit, stripe_size):
    loss = get_loss(key, normalization="sum", **params)
    both = graph_of_unknown_shapes(loss.per_query, ("float32", "float32", "float32", "bool"), jit)
    with stripe_size(160, dense=100):
        for shape in ((2, 5), SHAPE):  # dense, and in stripes
            lists = make_lists(*shape)
            found = both(*(x.astype("float32") for x in lists[:2]), lists.weight.astype("float32"), lists.mask)
            assert_right([values(x) for x in found], lists, key, True, params, 1e-5)


@pytest.mark.backend("tensorflow")
@first_base
def test_sums_inside_an_xla_compiled_function(key, params):
    import tensorflow as tf

    lists = make_lists(*SHAPE)
    graph = tf.function(rows_of(key, params, lists), jit_compile=True)
    scores = lists.scores.astype("float32")
    assert_right((values(graph(scores)), gradient(graph, scores)), lists, key, True, params, 1e-5)


def asymmetric(row, column, near):
    return (row[0] + 1.0) * near + ops.abs(row[0] - column[0]) / (row[1] + 2.0 * column[1])


@dataclass(frozen=True)
class Streamed(LambdaWeight):
    """A function of the labels and ranks of both documents, and of the distance of their ranks."""

    def pair_facts(self, labels, ranks, mask):
        return labels, ranks

    def between(self, row, column, step):
        return asymmetric(row, column, step)

    def distance_table(self, like):
        return 1.0 / (1.0 + ops.cast(ops.arange(like.shape[1]), like.dtype))


@dataclass(frozen=True)
class FullMatrix(LambdaWeight):
    """The same weight as a full matrix."""

    def pair_weights(self, labels, ranks, mask):
        ranks = ops.cast(ranks, labels.dtype)
        near = 1.0 / (1.0 + ops.abs(ranks[:, :, None] - ranks[:, None, :]))
        return asymmetric((labels[:, :, None], ranks[:, :, None]), (labels[:, None, :], ranks[:, None, :]), near)


@dataclass(frozen=True)
class StreamedScheme(BaseWeightingScheme):
    def between(self, row, column, step):
        return asymmetric(row, column, step)


@dataclass(frozen=True)
class StreamedSchemeOfAll(StreamedScheme):
    all_pairs = True


@dataclass(frozen=True)
class FullMatrixScheme(BaseWeightingScheme):
    def forward(self, gain, discount, true_sorted):
        shares = 1.0 / discount
        places = np.arange(gain.shape[1])
        apart = np.abs(places[:, None] - places[None, :])
        table = 1.0 / np.log2(1.0 + np.arange(1, gain.shape[1] + 2))
        near = np.where(apart > 0, table[apart - 1] - table[apart], 0.0)
        near = ops.cast(near, gain.dtype)
        return asymmetric((gain[:, :, None], shares[:, :, None]), (gain[:, None, :], shares[:, None, :]), near)


@dataclass(frozen=True)
class FullMatrixSchemeOfAll(FullMatrixScheme):
    all_pairs = True


OWN = [
    ("pairwise_logistic", "lambda_weight", Streamed(), FullMatrix()),
    ("pairwise_mse", "lambda_weight", Streamed(), FullMatrix()),
    ("lambda_loss", "weighting_scheme", StreamedScheme(), FullMatrixScheme()),
    ("lambda_loss", "weighting_scheme", StreamedSchemeOfAll(), FullMatrixSchemeOfAll()),
]


@pytest.mark.parametrize("k", [None, 4])
@pytest.mark.parametrize(("key", "name", "streamed", "whole"), OWN, ids=lambda x: x if isinstance(x, str) else "")
def test_streamed_and_full_matrix_weights_agree(key, name, streamed, whole, k):
    """Also if the weights of (i, j) and (j, i) differ."""
    lists = make_lists(3, 12)
    lists = lists._replace(scores=lists.scores + 0.01 * np.arange(12))  # no ties, so that small steps change no rank
    dtype = "float64" if DOUBLE else "float32"
    scores, found = lists.scores.astype(dtype), []
    for scheme in (streamed, whole):
        params = {name: scheme, "k": k} if key == "lambda_loss" else {name: scheme}
        function = rows_of(key, params, lists, dtype=dtype)
        found.append((values(function(ops.convert_to_tensor(scores))), gradient(function, scores)))
    for one, other in zip(*found, strict=True):
        assert_close(one, other, double=1e-12, single=1e-5)
    if DOUBLE:
        filled = np.where(lists.mask, scores, 0.0)
        slopes = central_differences(lambda x: values(function(ops.convert_to_tensor(x))), filled)
        assert np.abs(slopes).max() > 0.1
        assert_close(found[1][1], slopes, double=1e-7)


@pytest.mark.backend("tensorflow")
@pytest.mark.parametrize("rows", [3, 0])
def test_long_lists_in_batches_of_unknown_size_have_no_matrices_for_short_lists(rows):
    """TensorFlow would compute its tables [N, N] although no list needs them."""
    import tensorflow as tf

    fn = get_loss("lambda_loss").get_loss_fn(reduction="sum")

    @tf.function(input_signature=[tf.TensorSpec([None, 300])] * 2, autograph=False)
    def step(labels, scores):
        with tf.GradientTape() as tape:
            tape.watch(scores)
            loss = fn(labels, scores)
        return loss, tape.gradient(loss, scores)

    definition = step.get_concrete_function().graph.as_graph_def(add_shapes=True)
    nodes = [*definition.node, *(node for function in definition.library.function for node in function.node_def)]
    shapes = [[d.size for d in shape.dim] for node in nodes for shape in node.attr["_output_shapes"].list.shape]
    assert [300] in [shape[-1:] for shape in shapes]
    assert [300, 300] not in [shape[-2:] for shape in shapes]
    lists = make_lists(3, 300, 1.0, 0)
    found = step(*(x[:rows].astype("float32") for x in (lists.labels, lists.scores)))
    assert found[1].shape == (rows, 300)
    assert np.isfinite(found[0])
    assert (found[0] > 0) == (rows > 0)
