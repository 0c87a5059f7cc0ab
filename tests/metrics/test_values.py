"""Values and weights of every query against float64 loops, and against ir_measures (pytrec_eval)."""

import numpy as np
import pytest
from keras import ops

from ml4ir_losses.core.registry import METRICS
from selection import few_on_jax

from .oracle import CASES, KEYS, batch, keys, queries, queries_for

SHAPES = few_on_jax([(7, 9), (8, 8), (12, 2)], (7, 9))
TOPNS = [None, 3, 20]


def compute(key, labels, scores, mask=None, weight=None, **params):
    values, weights = METRICS[key].target(labels, scores, mask, item_weight=weight, **params)
    return ops.convert_to_numpy(values), ops.convert_to_numpy(weights)


def check(key, data, weighted=True, **params):
    """Compares values and weights with those of the oracle, and returns the latter."""
    labels, scores, mask, weight = data
    got = compute(key, labels, scores, mask, weight if weighted else None, **params)
    want = batch(key, labels, scores, mask, weight if weighted else None, **params)
    np.testing.assert_allclose(got[0], want[0], rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(got[1], want[1], rtol=2e-5, atol=1e-6)
    return want


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("topn", TOPNS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("key", KEYS)
def test_values_match_the_oracle(key, shape, topn, weighted):
    weights = [
        check(key, queries_for(key, seed, rows=shape[0], documents=shape[1]), weighted, topn=topn)[1]
        for seed in range(2)
    ]
    assert np.concatenate(weights).max() > 0  # some query counts


@pytest.mark.parametrize("topn", TOPNS)
@pytest.mark.parametrize("key", KEYS)
def test_values_with_documents_that_are_not_retrieved(key, topn):
    labels, scores, mask, weight = queries_for(key, 9)
    scores = np.where(np.random.default_rng(9).random(scores.shape) < 0.4, np.float32(-np.inf), scores)
    scores[2] = -np.inf
    check(key, (labels, scores, mask, weight), topn=topn)


@pytest.mark.parametrize(("key", "policy"), [(key, policy) for key in KEYS for policy in CASES[key].policies])
def test_empty_query_has_the_value_of_the_policy(key, policy):
    values, weights = check(key, queries_for(key, 5), topn=3, empty_queries=policy)
    assert (values[0], weights[0] > 0) == (float(policy == "one"), policy != "skip")
    assert (values[1], weights[1]) == (0.0, 0.0)  # all padding: never counts


@pytest.mark.parametrize("discount", ["identity", "inverse", "log2_inverse", "inverse_log1p"])
@pytest.mark.parametrize("gain", ["identity", "pow2_minus_1"])
@pytest.mark.parametrize("key", keys(gains=True))
def test_values_for_every_gain_and_discount(key, gain, discount):
    check(key, queries_for(key, 6), gain=gain, discount=discount, topn=4)


@pytest.mark.parametrize("threshold", [0.5, 2.0, 3])
@pytest.mark.parametrize("key", keys(binary=True))
def test_labels_from_the_threshold_on_are_relevant(key, threshold):
    check(key, queries_for(key, 7), topn=3, relevance_threshold=threshold)


@pytest.mark.parametrize("topn", TOPNS)
@pytest.mark.parametrize("denominator", ["retrieved", "topn"])
def test_precision_divides_by_its_denominator(denominator, topn):
    check("precision", queries_for("precision", 8), denominator=denominator, topn=topn)


@pytest.mark.parametrize("topn", [None, 1, 3])
def test_average_precision_divides_by_at_most_topn(topn):
    check("map", queries_for("map", 8), denominator="topn", topn=topn)


@pytest.mark.parametrize("topn", TOPNS)
def test_average_precision_with_ties_together_ranks_them_all_last(topn):
    labels, scores, mask, weight = queries_for("map", 8)
    scores[2, :4] = -np.inf
    values, _ = compute("map", labels, scores, mask, weight, ties="together", topn=topn)
    for y, s, m, w, value in zip(labels, scores, mask & (weight > 0), weight, values, strict=True):
        ranks = [sum(m & (s >= score)) for score in s]
        found = [sum(m & (s >= score) & (y >= 1)) for score in s]
        relevant = m & (y >= 1)
        counted = [i for i in np.flatnonzero(relevant) if s[i] > -np.inf and ranks[i] <= (topn or 99)]
        expected = sum(w[i] * found[i] / ranks[i] for i in counted) / max(sum(w[relevant]), 1e-9)
        assert value == pytest.approx(expected, rel=2e-5, abs=1e-6)


@pytest.mark.parametrize("ties", ["average", "order", "worst"])
@pytest.mark.parametrize("topn", TOPNS)
def test_mrr_of_the_highest_label(topn, ties):
    check("mrr", queries_for("mrr", 8), relevance_threshold="highest", topn=topn, ties=ties)


@pytest.mark.parametrize("topn", TOPNS)
def test_bpref_of_the_paper(topn):
    check("bpref", queries(8), use_trec_version=False, topn=topn)


@pytest.mark.parametrize("discount", ["inverse", "log2_inverse"])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_alpha_dcg_for_every_alpha_and_discount(alpha, discount):
    check("alpha_dcg", queries_for("alpha_dcg", 8), alpha=alpha, discount=discount, topn=5)


def test_gain_and_discount_may_be_python_functions():
    labels, scores = [[3.0, 1.0, 0.0]], [[1.0, 3.0, 2.0]]
    value, _ = compute("dcg", labels, scores, gain=lambda y: y / 2, discount=lambda r: 1 / (r + 10))
    np.testing.assert_allclose(value, [0.5 / 11 + 1.5 / 13], rtol=1e-6)
    value, _ = compute("ndcg", labels, scores, gain=lambda y: y / 2, discount=lambda r: 1 / (r + 10))
    np.testing.assert_allclose(value, [(0.5 / 11 + 1.5 / 13) / (1.5 / 11 + 0.5 / 12)], rtol=1e-6)


def test_arp_with_topn_counts_lower_ranks_as_topn_plus_1():
    scores = [[4.0, 3.0, 2.0, 1.0]]
    for labels, expected in (([1, 0, 0, 1], 2.0), ([1, 0, 1, 0], 2.0), ([1, 1, 0, 0], 1.5)):
        assert compute("arp", [labels], scores, topn=2)[0] == pytest.approx(expected)


def test_ordered_pair_accuracy_with_topn_counts_pairs_with_a_document_in_the_top():
    labels, scores = [[0.0, 2.0, 0.0, 1.0]], [[4.0, 3.0, 2.0, 1.0]]
    value, weight = compute("ordered_pair_accuracy", labels, scores, topn=1)
    assert (value[0], weight[0]) == (0.0, 2.0)  # the pairs (2nd, 1st) and (4th, 1st)
    value, weight = compute("ordered_pair_accuracy", labels, scores, topn=2)
    assert (value[0], weight[0]) == (0.5, 4.0)


@pytest.fixture
def long_lists():
    """Labels, scores of which many are equal, mask and weights of lists longer than a stripe."""
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 4, (3, 220)).astype("float32")
    scores = rng.integers(0, 60, labels.shape).astype("float32")
    mask = np.arange(220) < np.array([[220], [40], [0]])
    return labels, scores, mask, rng.uniform(0.5, 2, labels.shape).astype("float32")


@pytest.mark.parametrize("topn", [None, 7])
def test_ordered_pair_accuracy_of_lists_longer_than_a_stripe(long_lists, topn):
    got = compute("ordered_pair_accuracy", *long_lists, topn=topn, ties="order")
    want = batch("ordered_pair_accuracy", *long_lists, topn=topn, ties="order")
    np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize(("ties", "equal"), [("average", 0.5), ("worst", 0.0)])
def test_equal_scores_of_lists_longer_than_a_stripe_count_half_or_nothing(long_lists, ties, equal):
    labels, scores, mask, weight = (x.astype("float64") for x in long_lists)
    pairs = (labels[:, :, None] > labels[:, None, :]) * (weight * mask)[:, :, None] * mask[:, None, :]
    lead = scores[:, :, None] - scores[:, None, :]
    right, all_pairs = (pairs * np.where(lead == 0, equal, lead > 0)).sum(axis=(1, 2)), pairs.sum(axis=(1, 2))
    want = np.divide(right, all_pairs, out=np.zeros(3), where=all_pairs > 0), all_pairs
    np.testing.assert_allclose(compute("ordered_pair_accuracy", *long_lists, ties=ties), want, rtol=1e-5)


IR_NAMES = {
    "ndcg": "nDCG",
    "precision": "P",
    "recall": "R",
    "map": "AP",
    "mrr": "RR",
    "hits": "Success",
}


@pytest.mark.slow_on("jax")
@pytest.mark.parametrize("topn", [None, 1, 3, 10, 40])
@pytest.mark.parametrize("key", IR_NAMES)
def test_values_equal_those_of_ir_measures(key, topn):
    ir_measures = pytest.importorskip("ir_measures")
    if topn is None and key not in ("ndcg", "map", "mrr"):
        pytest.skip("trec_eval has no such measure without a cutoff")
    labels, scores, mask, _ = queries(11, rows=20, documents=25, ties=False)
    labels = np.floor(labels)
    run, qrels = {}, {}
    for q in range(len(labels)):
        docs = np.flatnonzero(mask[q])
        run[f"q{q}"] = {f"d{i}": float(scores[q, i]) for i in docs}
        qrels[f"q{q}"] = {f"d{i}": int(labels[q, i]) for i in docs}
    measure = getattr(ir_measures, IR_NAMES[key])
    measure = measure if topn is None else measure @ topn
    theirs = {m.query_id: m.value for m in ir_measures.iter_calc([measure], qrels, run)}

    params = {"ndcg": {"gain": "identity"}, "precision": {"denominator": "topn"}}.get(key, {})
    values, weights = compute(key, labels, scores, mask, topn=topn, empty_queries="zero", **params)
    compared = [q for q in range(len(labels)) if mask[q].any()]
    assert len(compared) == 19
    assert len({round(theirs[f"q{q}"], 3) for q in compared}) > 1
    np.testing.assert_allclose(values[compared], [theirs[f"q{q}"] for q in compared], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(weights[compared], 1.0)
