"""Equal scores: expected, lowest and given order, against all orders of the documents; and what follows from them."""

import numpy as np
import pytest
from keras import ops

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.registry import METRICS

from .oracle import CASES, KEYS, batch, in_layout, queries_for


def compute(key, labels, scores, mask=None, weight=None, **params):
    values, weights = METRICS[key].target(labels, scores, mask, item_weight=weight, **params)
    return np.stack([ops.convert_to_numpy(values), ops.convert_to_numpy(weights)])


def tied_queries(key, seed):
    """Queries with large groups of equal scores and documents that are not retrieved."""
    labels, scores, mask, weight = queries_for(key, seed, rows=10, documents=7)
    rng = np.random.default_rng(seed)
    scores = np.sign(scores) * rng.integers(0, 2, (10, 1)).astype("float32")
    scores = np.where(rng.random(scores.shape) < 0.15, np.float32(-np.inf), scores)
    return labels, scores, mask, weight


# Sorting by weight finds the lowest value in one of the two: without a cutoff, or with equal weights.
WORST_OF_WEIGHTS = ("map", "ordered_pair_accuracy")


@pytest.mark.parametrize("ties", ["average", "worst", "order"])
@pytest.mark.parametrize("key", KEYS)
def test_value_is_that_of_all_orders(key, ties):
    if (key, ties) == ("alpha_dcg", "worst"):
        pytest.skip("alpha_dcg has no worst")
    labels, scores, mask, weight = tied_queries(key, 3)
    for topn in (None, 1, 2, 3, 5, 20):
        for w in (None, weight):
            if ties == "worst" and key in WORST_OF_WEIGHTS and topn is not None and w is not None:
                continue
            got = compute(key, labels, scores, mask, w, topn=topn, ties=ties)
            want = np.stack(batch(key, labels, scores, mask, w, topn=topn, ties=ties))
            np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-6, err_msg=f"topn {topn}, weights {w is not None}")
    assert want[1].max() > 0


@pytest.mark.slow_on("jax")
@pytest.mark.parametrize("key", KEYS)
def test_mean_over_random_orders_is_the_value_of_a_constant_score(key):
    labels, _, mask, _ = queries_for(key, 5, rows=3, documents=12)
    rows = [2] * 3000
    draws = np.random.default_rng(0).random((3000, 12)).astype("float32")
    value, weight = compute(key, labels[rows], draws, mask[rows], topn=4)
    exact, _ = compute(key, labels[2:3], np.zeros((1, 12), "float32"), mask[2:3], topn=4)
    error = 4 * value.std() / 3000**0.5 + 1e-6
    assert abs(np.average(value, weights=weight) - exact[0]) < error


@pytest.mark.parametrize("ties", ["average", "order"])
@pytest.mark.parametrize("params", [{}, {"topn": 40}])
def test_long_lists_with_large_groups_of_equal_scores(params, ties):
    """The first relevant document, in closed form and in one step for each document of the group."""
    rng = np.random.default_rng(6)
    labels = (rng.random((2, 300)) < [[0.02], [0.3]]).astype("float32")
    scores = rng.integers(0, 4, labels.shape).astype("float32")
    mrr = compute("mrr", labels, scores, ties=ties, **params)[0]
    dcg = compute("alpha_dcg", labels[..., None], scores, alpha=1.0, discount="inverse", ties=ties, **params)[0]
    np.testing.assert_allclose(dcg, mrr, rtol=1e-5)


def test_bpref_of_a_long_group_that_the_cutoff_divides():
    scipy_stats = pytest.importorskip("scipy.stats")
    labels = np.r_[[0.0, 1.0], np.arange(80) % 4 == 0, np.zeros(20)][None].astype("float32")
    scores = np.r_[[3.0, 2.0], np.ones(80), np.zeros(20)][None].astype("float32")
    cut, relevant, irrelevant = 30, 21, 81
    value = 1 - 1 / relevant  # the second document, with one irrelevant document above it
    for place in range(cut - 2):
        count = np.arange(place + 1)
        chance = scipy_stats.hypergeom(79, 60, place).pmf(count)
        value += 20 / 80 * (1 - (chance * np.minimum(1 + count, relevant)).sum() / min(relevant, irrelevant))
    assert compute("bpref", labels, scores, topn=cut)[0] == pytest.approx(value / relevant, rel=2e-5)


@pytest.mark.slow_on("jax")
@pytest.mark.parametrize("key", KEYS)
def test_ties_of_equal_labels_do_not_count(key):
    scores = np.array([[3.0, 2.0, 2.0, 1.0]], "float32")
    labels = in_layout(key, [[0.0, 1.0, 1.0, 0.0]])
    values = [compute(key, labels, scores, topn=2, ties=ties)[0] for ties in _choices(key)]
    np.testing.assert_allclose(values, values[0].repeat(len(values))[:, None], rtol=1e-6)


@pytest.mark.slow_on("jax")
@pytest.mark.parametrize("key", KEYS)
def test_worst_is_at_most_the_average(key):
    if len(_choices(key)) < 3:
        pytest.skip("has no worst")
    labels, scores, mask, _ = queries_for(key, 8, rows=40, documents=20)
    average, worst = (compute(key, labels, scores, mask, ties=ties)[0] for ties in ("average", "worst"))
    lower = worst - average if CASES[key].lower_is_better else average - worst
    assert (lower > -1e-6).all()
    assert (lower > 1e-3).any() != CASES[key].needs_cutoff


def test_pairs_of_equal_scores_count_half_or_not_at_all():
    for key in ("ordered_pair_accuracy", "auc"):
        values = [float(compute(key, [[1.0, 0.0]], [[2.0, 2.0]], ties=t)[0, 0]) for t in ("average", "order", "worst")]
        assert values == [0.5, 1.0, 0.0]


def test_alpha_dcg_has_no_worst():
    with pytest.raises(UserError, match="`ties` must be average or order for 'alpha_dcg'"):
        compute("alpha_dcg", [[[1.0]]], [[1.0]], ties="worst")


@pytest.mark.parametrize("key", KEYS)
def test_unknown_ties_are_refused(key):
    with pytest.raises(UserError, match="`ties` must be"):
        compute(key, in_layout(key, [[1.0]]), [[1.0]], ties="averge")


def _choices(key):
    return ("average", "order") if key == "alpha_dcg" else ("average", "order", "worst")
