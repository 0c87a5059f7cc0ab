"""Values and weights of every query against float64 loops, and against ir_measures (pytrec_eval)."""

import numpy as np
import pytest
from keras import ops

from ml4ir_losses.core.registry import METRICS

from .oracle import BINARY, KEYS, batch, queries

SHAPES = [(7, 9), (8, 8), (12, 2)]
TOPNS = [None, 3, 20]


def compute(key, labels, scores, mask=None, weight=None, **params):
    values, weights = METRICS[key].target(labels, scores, mask, item_weight=weight, **params)
    return ops.convert_to_numpy(values), ops.convert_to_numpy(weights)


def check(key, data, weighted, ours, theirs):
    labels, scores, mask, weight = data
    got = compute(key, labels, scores, mask, weight if weighted else None, **ours)
    want = batch(key, labels, scores, mask, weight if weighted else None, **theirs)
    np.testing.assert_allclose(got[0], want[0], rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(got[1], want[1], rtol=2e-5, atol=1e-6)
    return want


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("topn", TOPNS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("key", KEYS)
def test_values_match_the_oracle(key, shape, topn, weighted):
    params = {"topn": topn}
    seen = [check(key, queries(seed, *shape), weighted, params, params)[1] for seed in range(2)]
    assert np.concatenate(seen).max() > 0  # some query counted


@pytest.mark.parametrize("empty", ["skip", "zero", "one"])
@pytest.mark.parametrize("key", [key for key in KEYS if key != "arp"])
def test_empty_queries_policy(key, empty):
    data = queries(5)
    values, weights = check(key, data, True, {"topn": 3, "empty_queries": empty}, {"topn": 3, "empty": empty})
    assert (values[0], weights[0] > 0) == (float(empty == "one"), empty != "skip")
    assert (values[1], weights[1]) == (0.0, 0.0)  # all padding: never counts


@pytest.mark.parametrize("discount", ["identity", "inverse", "log2_inverse", "inverse_log1p"])
@pytest.mark.parametrize("gain", ["identity", "pow2_minus_1"])
@pytest.mark.parametrize("key", ["ndcg", "dcg"])
def test_gain_and_discount(key, gain, discount):
    params = {"gain": gain, "discount": discount, "topn": 4}
    check(key, queries(6), True, params, params)


@pytest.mark.parametrize("key", BINARY)
def test_relevance_threshold(key):
    data = queries(7)
    for threshold in (0.5, 2.0, 3):
        theirs = {"topn": 3, "threshold": threshold}
        check(key, data, True, {"topn": 3, "relevance_threshold": threshold}, theirs)


@pytest.mark.parametrize("topn", TOPNS)
@pytest.mark.parametrize("denominator", ["retrieved", "topn"])
def test_denominator_of_precision(denominator, topn):
    params = {"denominator": denominator, "topn": topn}
    check("precision", queries(8), True, params, params)


def test_python_functions_as_gain_and_discount():
    labels, scores = [[3.0, 1.0, 0.0]], [[1.0, 3.0, 2.0]]
    value, _ = compute("dcg", labels, scores, gain=lambda y: y / 2, discount=lambda r: 1 / (r + 10))
    np.testing.assert_allclose(value, [0.5 / 11 + 1.5 / 13], rtol=1e-6)
    value, _ = compute("ndcg", labels, scores, gain=lambda y: y / 2, discount=lambda r: 1 / (r + 10))
    np.testing.assert_allclose(value, [(0.5 / 11 + 1.5 / 13) / (1.5 / 11 + 0.5 / 12)], rtol=1e-6)


def test_arp_at_n_counts_lower_ranks_as_the_next_one():
    scores = [[4.0, 3.0, 2.0, 1.0]]
    for labels, expected in (([1, 0, 0, 1], 2.0), ([1, 0, 1, 0], 2.0), ([1, 1, 0, 0], 1.5)):
        assert compute("arp", [labels], scores, topn=2)[0] == pytest.approx(expected)


def test_ordered_pair_accuracy_at_n_takes_pairs_that_reach_the_top():
    labels, scores = [[0.0, 2.0, 0.0, 1.0]], [[4.0, 3.0, 2.0, 1.0]]
    value, weight = compute("ordered_pair_accuracy", labels, scores, topn=1)
    assert (value[0], weight[0]) == (0.0, 2.0)  # the pairs (2nd, 1st) and (4th, 1st)
    value, weight = compute("ordered_pair_accuracy", labels, scores, topn=2)
    assert (value[0], weight[0]) == (0.5, 4.0)


@pytest.mark.parametrize("topn", [None, 7])
def test_ordered_pair_accuracy_of_long_lists(topn):
    """As many pairs as are counted in stripes, and lists of very different lengths."""
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 4, (3, 220)).astype("float32")
    scores = rng.integers(0, 60, labels.shape).astype("float32")
    mask = np.arange(220) < np.array([[220], [40], [0]])
    weight = rng.uniform(0.5, 2, labels.shape).astype("float32")
    got = compute("ordered_pair_accuracy", labels, scores, mask, weight, topn=topn)
    want = batch("ordered_pair_accuracy", labels, scores, mask, weight, topn=topn)
    np.testing.assert_allclose(got, want, rtol=1e-5)


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
def test_values_equal_ir_measures(key, topn):
    ir_measures = pytest.importorskip("ir_measures")
    if topn is None and key not in ("ndcg", "map", "mrr"):
        pytest.skip("trec has no such measure without a cut-off")
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
