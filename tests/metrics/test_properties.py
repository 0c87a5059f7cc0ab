"""Properties of every metric: padding, weights, ties, batches, compiled graphs, dtypes."""

import numpy as np
import pytest
from keras import ops

from ml4ir_losses.core.registry import METRICS
from selection import few_on_jax

from .oracle import CASES, KEYS, fill, in_layout, queries_for, valid

TOPNS = few_on_jax([None, 3], 3)


def compute(key, labels, scores, mask=None, weight=None, **params):
    values, weights = METRICS[key].target(labels, scores, mask, item_weight=weight, **params)
    return np.stack([ops.convert_to_numpy(values), ops.convert_to_numpy(weights)])


def test_every_metric_has_a_row_of_tests():
    assert sorted(entry.key for entry in METRICS.own()) == sorted(KEYS)


def test_random_queries_distinguish_all_metrics():
    values = [compute(key, *queries_for(key, 1, ties=False), topn=3)[0].round(5).tolist() for key in KEYS]
    assert len({str(row) for row in values}) == len(KEYS)


@pytest.mark.parametrize("topn", TOPNS)
@pytest.mark.parametrize("key", KEYS)
class TestEveryMetric:
    def test_permuting_documents_does_not_change_the_value(self, key, topn):
        data = queries_for(key, 2)
        order = np.random.default_rng(0).permutation(data[1].shape[1])
        got = compute(key, *(x[:, order] for x in data), topn=topn)
        np.testing.assert_allclose(got, compute(key, *data, topn=topn), rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("garbage", [np.nan, np.inf])
    def test_content_of_padding_does_not_change_the_value(self, key, topn, garbage):
        labels, scores, mask, weight = queries_for(key, 3)
        want = compute(key, labels, scores, mask, weight, topn=topn)
        dirty = [fill(x, mask, garbage) for x in (labels, scores, weight)]
        got = compute(key, dirty[0], dirty[1], mask, dirty[2], topn=topn)
        np.testing.assert_array_equal(got, want)

    def test_more_padding_does_not_change_the_value(self, key, topn):
        data = queries_for(key, 3)
        wide = [np.pad(x, ((0, 0), (2, 5), (0, 0))[: x.ndim]) for x in data]
        got = compute(key, *wide, topn=topn)
        np.testing.assert_allclose(got, compute(key, *data, topn=topn), rtol=1e-5, atol=1e-6)

    def test_weight_0_equals_padding(self, key, topn):
        labels, scores, mask, weight = queries_for(key, 3)
        assert (weight[mask] == 0).any()
        want = compute(key, labels, scores, mask & (weight > 0), weight, topn=topn)
        np.testing.assert_array_equal(compute(key, labels, scores, mask, weight, topn=topn), want)

    @pytest.mark.parametrize("rows", few_on_jax([9, 5], 5))
    def test_batch_equals_its_queries_one_by_one(self, key, topn, rows):
        data = queries_for(key, 4, rows=rows, documents=9)
        single = [compute(key, *(x[b : b + 1] for x in data), topn=topn) for b in range(rows)]
        np.testing.assert_allclose(compute(key, *data, topn=topn), np.concatenate(single, axis=1), rtol=1e-6, atol=1e-7)

    def test_weights_of_1_equal_no_weights(self, key, topn):
        labels, scores, mask, _ = queries_for(key, 4)
        ones = compute(key, labels, scores, mask, np.ones_like(scores), topn=topn)
        np.testing.assert_array_equal(ones, compute(key, labels, scores, mask, None, topn=topn))

    def test_doubled_weights_double_only_the_query_weights(self, key, topn):
        labels, scores, mask, weight = queries_for(key, 4)
        one = compute(key, labels, scores, mask, weight, topn=topn)
        two = compute(key, labels, scores, mask, 2 * weight, topn=topn)
        np.testing.assert_allclose(two, one * [[1.0], [2.0]], rtol=1e-6)

    def test_ties_keep_their_order_where_that_is_asked_for(self, key, topn):
        labels, scores, mask, weight = queries_for(key, 4)
        tied = np.sign(scores) * 0.0  # -0.0 and 0.0
        falling = np.broadcast_to(-np.arange(scores.shape[1], dtype="float32"), scores.shape)
        want = compute(key, labels, falling, mask, weight, topn=topn)
        np.testing.assert_array_equal(compute(key, labels, tied, mask, weight, topn=topn, ties="order"), want)

    @pytest.mark.parametrize("low", [np.nan, -3e38])
    def test_nan_and_the_lowest_scores_rank_above_padding_and_documents_not_retrieved(self, key, topn, low):
        labels = in_layout(key, [[-1.0, 1.0, 2.0, 0.0, 1.0]])
        scores = np.array([[9.0, -np.inf, low, np.inf, 1.0]], "float32")
        want = compute(key, labels, np.array([[9.0, -np.inf, -5.0, 5.0, 1.0]], "float32"), valid(labels), topn=topn)
        np.testing.assert_array_equal(compute(key, labels, scores, valid(labels), topn=topn), want)

    def test_document_not_retrieved_is_worth_at_most_one_ranked_last(self, key, topn):
        labels = in_layout(key, [[0.0, 1.0, 2.0, 1.0]])
        last, missing = (np.array([[3.0, 2.0, 1.0, low]], "float32") for low in (0.0, -np.inf))
        (ranked,), (unranked,) = (compute(key, labels, scores, topn=topn)[0] for scores in (last, missing))
        assert (
            unranked >= ranked
            if CASES[key].lower_is_better
            else unranked <= ranked or CASES[key].needs_cutoff or key == "pwa"
        )

    def test_query_without_retrieved_documents_counts(self, key, topn):
        labels, scores = in_layout(key, [[0.0, 1.0, 2.0]]), np.full((1, 3), -np.inf, "float32")
        (value,), (weight,) = compute(key, labels, scores, topn=topn)
        no_pair_counts = key == "ordered_pair_accuracy" and topn is not None
        assert weight > 0 or no_pair_counts
        assert value == (min(4, (topn or 4) + 1) if key == "arp" else 0.0)

    def test_query_of_padding_has_weight_0(self, key, topn):
        labels, scores, _, weight = queries_for(key, 4)
        for policy in CASES[key].policies:
            nothing = np.zeros(scores.shape, bool)
            got = compute(key, labels, scores, nothing, weight, topn=topn, empty_queries=policy)
            np.testing.assert_array_equal(got, 0.0)

    def test_value_of_a_single_relevant_document(self, key, topn):
        value, weight = compute(key, in_layout(key, [[1.0]]), [[0.3]], topn=topn)
        expected = (0.0, 0.0) if CASES[key].needs_pairs else (CASES[key].single, 1.0)
        np.testing.assert_allclose((value[0], weight[0]), expected, rtol=1e-6)

    def test_no_ranking_is_better_than_the_ideal_one(self, key, topn):
        if CASES[key].subtopics:
            pytest.skip("the order of the labels is not the ideal one")
        labels, scores, mask, _ = queries_for(key, 5, ties=False)
        labels = np.where(labels >= 3, labels, 0).astype("float32")
        value, counts = compute(key, labels, scores, mask, topn=topn)
        ideal, _ = compute(key, labels, labels, mask, topn=topn)
        counts = counts > 0
        better = value - ideal if CASES[key].lower_is_better else ideal - value
        assert (better[counts] >= -1e-6).all()
        assert (better[counts] > 1e-3).any() == (topn is not None or not CASES[key].needs_cutoff)
        if CASES[key].ideal is not None:
            np.testing.assert_allclose(ideal[counts], CASES[key].ideal, rtol=1e-6)

    @pytest.mark.backend("tensorflow")
    def test_graph_with_unknown_shapes_equals_eager(self, key, topn):
        import tensorflow as tf

        function = METRICS[key].target
        labels, scores, mask, _ = queries_for(key, 6)
        specs = [tf.TensorSpec([None] * x.ndim, x.dtype) for x in (labels, scores, mask)]

        @tf.function(input_signature=specs)
        def traced(labels, scores, mask):
            return function(labels, scores, mask, topn=topn)

        got = np.stack([x.numpy() for x in traced(labels, scores, mask)])
        np.testing.assert_allclose(got, compute(key, labels, scores, mask, topn=topn), rtol=1e-5, atol=1e-6)

    def test_result_is_float32_or_float64_like_the_scores(self, key, topn):
        import keras

        labels, scores, mask, weight = queries_for(key, 6)
        kinds = {"float16": "float32", "float32": "float32"}
        if keras.backend.backend() != "jax":  # JAX has no float64 by default
            kinds["float64"] = "float64"
        for given, expected in kinds.items():
            values, weights = METRICS[key].target(
                labels, ops.convert_to_tensor(scores.astype(given)), mask, item_weight=weight, topn=topn
            )
            assert [keras.backend.standardize_dtype(x.dtype) for x in (values, weights)] == [expected] * 2


@pytest.mark.backend("tensorflow")
@pytest.mark.parametrize(("key", "topn"), [*((key, 3) for key in KEYS), ("ndcg", None), ("map", None)])
def test_xla_equals_eager(key, topn):
    import tensorflow as tf

    data = queries_for(key, 6)
    assert (np.signbit(data[1]) & (data[1] == 0)).any()  # ties of -0.0 and 0.0, which XLA sorts apart
    function = METRICS[key].target

    @tf.function(jit_compile=True)
    def compiled(labels, scores, mask, weight):
        return function(labels, scores, mask, item_weight=weight, topn=topn)

    got = np.stack([x.numpy() for x in compiled(*(tf.constant(x) for x in data))])
    np.testing.assert_allclose(got, compute(key, *data, topn=topn), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("gain", ["pow2_minus_1", "identity"])
@pytest.mark.parametrize("label", [31.0, 100.0, 128.0, 1000.0, 3e38])
def test_ndcg_of_large_labels_is_exact(label, gain):
    labels, scores = np.array([[label, label, 0.0]], "float32"), np.array([[1.0, 3.0, 2.0]], "float32")
    value, weight = compute("ndcg", labels, scores, gain=gain)
    np.testing.assert_allclose(value, (1 + 0.5) / (1 + 1 / np.log2(3)), rtol=1e-6)
    assert weight == 1.0


def test_dcg_stays_finite_for_large_labels():
    value, weight = compute("dcg", [[1000.0, 3e38, 0.0]], [[1.0, 3.0, 2.0]], None, [[3.0, 3.0, 3.0]])
    np.testing.assert_allclose(value, 1.5 * 2.0**100, rtol=1e-4)
    assert weight == 3.0


@pytest.mark.parametrize("key", KEYS)
def test_negative_labels_have_zero_gain(key):
    scores = [[3.0, 2.0, 1.0]]
    got = compute(key, in_layout(key, [[-2.0, 1.0, 0.0]]), scores)
    if not CASES[key].needs_pairs:  # in a pair -2 is below 0
        np.testing.assert_array_equal(got, compute(key, in_layout(key, [[0.0, 1.0, 0.0]]), scores))
    assert got[1] > 0
