"""Pair losses and soft ranks in N log N, in short lists of many blocks, against float64 NumPy and pairs one by one."""

from dataclasses import dataclass

import numpy as np
import pytest
from keras import ops
from scipy.special import expit

from losses.numeric import BACKEND, gradient, value_and_gradient, values
from ml4ir_losses.losses.factory import get_loss
from ml4ir_losses.losses.weighting_schemes import LambdaRankScheme
from ml4ir_losses.ops import pairs
from ml4ir_losses.ops.kernels.stripes import stripe_sums
from ml4ir_losses.ops.soft_ranks import approx_ranks, bound_ranks
from ops.pair_oracles import graph_of_unknown_shapes, make_lists
from ops.test_pairs import assert_right, check, name_of, rows_of

NDCG = {"key": "ndcg", "smooth_fraction": 1.0}
CASES = [
    ("pairwise_logistic", {}),
    ("pairwise_soft_zero_one", {}),
    ("pairwise_soft_zero_one", {"lambda_weight": "label_diff"}),
    ("pairwise_logistic", {"lambda_weight": NDCG}),
    ("pairwise_logistic", {"lambda_weight": {**NDCG, "topn": 5}}),
    ("pairwise_logistic", {"lambda_weight": {"key": "precision", "topn": 4}}),
    ("pairwise_hinge", {"margin": 2.5}),
    ("pairwise_hinge", {"lambda_weight": {**NDCG, "topn": 5}}),
    ("pairwise_quantile", {"tau": 0.8}),
    ("pairwise_quantile", {"tau": 0.3, "squared": True}),
    ("lambda_loss", {"weighting_scheme": None}),
    ("lambda_loss", {"weighting_scheme": None, "k": 3}),
    ("lambda_loss", {"weighting_scheme": "lambda_rank"}),
    ("lambda_loss", {"weighting_scheme": "lambda_rank", "k": 7, "top_k_pairs": "both"}),
    ("lambda_loss", {"weighting_scheme": "ndcg_loss1"}),
    ("lambda_loss", {"weighting_scheme": "ndcg_loss1", "k": 13}),
]
each_case = pytest.mark.parametrize(("key", "params"), CASES, ids=name_of)
some_cases = pytest.mark.parametrize(("key", "params"), [CASES[0], CASES[3], CASES[11]], ids=name_of)
pytestmark = pytest.mark.usefixtures("in_ranking")


@pytest.fixture(autouse=True)
def no_pair_one_by_one(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("These lists are summed in N log N.")

    if ops.convert_to_tensor(0.0).__class__.__module__.startswith(("jax", "tensorflow")):  # these trace both branches
        return
    monkeypatch.setattr(pairs, "stripe_sums", refuse)


@each_case
@pytest.mark.parametrize("weighted", [True, False], ids=["weights", "no-weights"])
def test_values_and_gradients_match_numpy(key, params, weighted):
    for seed, spread in enumerate((0.3, 1.0, 100.0, 1e4)):
        check(key, params, spread=spread, weighted=weighted, tolerance=2e-6, seed=seed)


@some_cases
@pytest.mark.backend("tensorflow", "torch")
@pytest.mark.parametrize("shape", [(24, 24), (3, 1), (1, 17), (2, 65)], ids=str)
def test_batches_of_many_shapes_match_numpy(key, params, shape):
    check(key, params, shape, tolerance=2e-6)


@pytest.mark.backend("tensorflow")
@some_cases
@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
def test_dynamic_shapes_match_numpy(key, params, jit):
    loss = get_loss(key, normalization="sum", **params)
    both = graph_of_unknown_shapes(loss.per_query, ("float32", "float32", "float32", "bool"), jit)
    for shape in ((2, 5), (6, 24)):
        lists = make_lists(*shape)
        found = both(*(x.astype("float32") for x in lists[:2]), lists.weight.astype("float32"), lists.mask)
        assert_right([values(x) for x in found], lists, key, True, params, 2e-6)


def margin_oracle(lists, scale, margin, shift, temperature):
    """Σ w·σ(scale·(margin - d/T) - shift) over the pairs of each list, and its gradient."""
    found = [np.zeros(len(lists.mask)), np.zeros(lists.mask.shape)]
    for row, valid in enumerate(lists.mask):
        labels, scores, weight = (x[row][valid] for x in (lists.labels, lists.scores, lists.weight))
        x = scale * (margin - (scores[:, None] - scores[None, :]) / temperature) - shift
        each = (labels[:, None] > labels[None, :]) * weight[:, None]
        slopes = -each * expit(x) * expit(-x) * scale / temperature
        found[0][row] = (each * expit(x)).sum()
        found[1][row][valid] = slopes.sum(axis=1) - slopes.sum(axis=0)
    return found


MARGINS = [("prob_margin_ranking", (1.0, 0.0), 1.0), ("cosine_prob_margin_ranking", (400.0, 6.0), 0.3)]


@pytest.mark.parametrize(("key", "steep", "margin"), MARGINS)
def test_margins_match_numpy(key, steep, margin):
    for spread in (0.1, 1.0, 1e4):
        lists = make_lists(6, 24, spread)
        function = rows_of(key, {"temperature": 0.75, "base_margin": margin}, lists)
        found = value_and_gradient(function, lists.scores.astype("float32"))
        for one, other in zip(found, margin_oracle(lists, steep[0], margin, steep[1], 0.75), strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=max(5e-6 * np.abs(other).max(), 1e-12))


def test_labels_of_many_levels_are_summed_one_by_one(monkeypatch):
    monkeypatch.undo()
    lists = make_lists(6, 24)
    lists = lists._replace(labels=lists.labels + np.arange(24) / 32)
    function, scores = rows_of("pairwise_logistic", {}, lists), lists.scores.astype("float32")
    assert_right(value_and_gradient(function, scores), lists, "pairwise_logistic", True, {}, 1e-5)


@dataclass(frozen=True)
class HalfOfLambdaRank(LambdaRankScheme):
    """Inherits `separated`, which does not fit its `between`."""

    def between(self, row, column, step):
        return super().between(row, column, step) / 2.0


@pytest.mark.backend("tensorflow", "torch")
def test_a_subclass_with_its_own_weight_of_pairs_is_not_summed_by_that_of_its_parent(monkeypatch):
    monkeypatch.setattr(pairs, "stripe_sums", stripe_sums)
    lists = make_lists(6, 24)
    scores, found = lists.scores.astype("float32"), []
    for scheme in (LambdaRankScheme(), HalfOfLambdaRank()):
        function = rows_of("lambda_loss", {"weighting_scheme": scheme}, lists)
        found.append(value_and_gradient(function, scores))
    for whole, half in zip(*found, strict=True):
        np.testing.assert_allclose(half, whole / 2.0, rtol=0, atol=2e-6 * np.abs(whole).max())


@pytest.mark.parametrize("key", ["pairwise_logistic", "pairwise_quantile", "approx_ndcg", "bound_ndcg"])
def test_scores_that_sums_would_overflow_on_have_finite_gradients(key, monkeypatch):
    monkeypatch.setattr(pairs, "stripe_sums", stripe_sums)
    lists = make_lists(6, 24)
    loss, labels, mask = get_loss(key), ops.convert_to_tensor(lists.labels.astype("float32")), lists.mask
    scores = lists.scores.astype("float32") * 1e35
    found = value_and_gradient(lambda x: loss.per_query(labels, x, None, ops.convert_to_tensor(mask)), scores)
    assert not np.isnan(found[0]).any()
    assert np.isfinite(found[1]).all()


def soft(lead):
    return expit(lead), expit(lead) * expit(-lead)


def bound(lead):
    return np.maximum(0.0, 1.0 + lead), 1.0 * (lead > -1.0)


@pytest.mark.parametrize(("rank_fn", "term", "own"), [(approx_ranks, soft, 0.5), (bound_ranks, bound, 0.0)])
@pytest.mark.parametrize("temperature", [0.01, 0.3, 100.0])
@pytest.mark.parametrize("spread", [0.01, 1.0, 1e4])
def test_soft_ranks_match_numpy(rank_fn, term, own, temperature, spread):
    lists = make_lists(6, 24, spread, 1)
    scores = np.where(lists.mask, lists.scores * 1.01, 0.0).astype("float32")
    upstream = np.random.default_rng(2).normal(size=scores.shape).astype("float32")
    mask = ops.convert_to_tensor(lists.mask)

    def ranks(x):
        return rank_fn(temperature)(x, mask)(lambda rank: rank)

    exact = scores.astype("float64")
    both = lists.mask[:, None, :] & lists.mask[:, :, None]
    values_of_pairs, slopes = (both * x for x in term((exact[:, None, :] - exact[:, :, None]) / temperature))
    expected = np.where(lists.mask, own + values_of_pairs.sum(axis=2), 1.0)
    np.testing.assert_allclose(values(ranks(ops.convert_to_tensor(scores))), expected, rtol=1e-6)
    given = np.einsum("bij,bj->bi", np.swapaxes(slopes, 1, 2), np.where(lists.mask, upstream, 0.0))
    slopes = (given - upstream * slopes.sum(axis=2)) / temperature
    found = gradient(lambda x: ops.convert_to_tensor(upstream) * ranks(x), scores)
    tolerance = 5e-6 if BACKEND == "jax" else 2e-6  # XLA adds numbers of either sign in another order
    np.testing.assert_allclose(found, slopes, rtol=0, atol=max(tolerance * np.abs(slopes).max(), 1e-30))
