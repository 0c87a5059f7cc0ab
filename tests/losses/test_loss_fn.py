"""`get_loss_fn`: reductions, weights, masks, positions and logits, against values computed by hand."""

import math

import keras
import numpy as np
import pytest

from losses.cases import case_of, fill, float32, get_loss, keras_batch, make_batch, oracle
from losses.families.classification import categorical_cross_entropy
from losses.families.listwise import softmax_cross_entropy
from losses.numeric import gradient, value_and_gradient, values
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.losses.propensity import propensity_weight
from selection import each_loss

# Two queries of two documents, both with the pair (1 over 0): ln(1 + e^-1) and ln(1 + e^2).
LABELS = np.array([[1.0, 0.0], [0.0, 1.0]], dtype="float32")
SCORES = np.array([[1.0, 0.0], [2.0, 0.0]], dtype="float32")
FIRST, SECOND = math.log1p(math.exp(-1)), math.log1p(math.exp(2))


def pairwise(**kwargs):
    return get_loss("pairwise_logistic").get_loss_fn(**kwargs)


class TestReduction:
    @pytest.mark.parametrize(
        ("reduction", "expected"),
        [
            ("sum_over_batch_size", (FIRST + SECOND) / 2),
            ("sum", FIRST + SECOND),
            ("none", [FIRST, SECOND]),
            (None, [FIRST, SECOND]),
        ],
    )
    def test_reduction_by_hand(self, reduction, expected):
        np.testing.assert_allclose(values(pairwise(reduction=reduction)(LABELS, SCORES)), expected, rtol=1e-6)

    def test_unknown_reduction_is_refused(self):
        with pytest.raises(ValueError, match="reduction"):
            pairwise(reduction="avg")


class TestWeights:
    def test_query_and_document_weights_multiply(self):
        both = {"query": np.array([2.0, 3.0]), "item": np.array([[5.0, 1.0], [7.0, 4.0]])}
        loss = get_loss("pairwise_logistic", normalization="sum").get_loss_fn(reduction="none")
        np.testing.assert_allclose(values(loss(LABELS, SCORES, both)), [10 * FIRST, 12 * SECOND], rtol=1e-6)

    @pytest.mark.parametrize(
        "wrong", [{"query": np.ones((2, 2))}, {"item": np.ones(2)}, {"item": np.ones((2, 2)), "queries": np.ones(2)}]
    )
    def test_wrong_weight_mapping_is_refused(self, wrong):
        with pytest.raises(UserError, match="`sample_weight` as a mapping holds"):
            pairwise()(LABELS, SCORES, wrong)

    @pytest.mark.parametrize(
        "weight", [3.0, np.float32(3), [3.0, 3.0], [[3.0], [3.0]]], ids=["scalar", "0-d", "B", "B1"]
    )
    def test_query_weights_of_every_shape(self, weight):
        np.testing.assert_allclose(values(pairwise()(LABELS, SCORES, weight)), 1.5 * (FIRST + SECOND), rtol=1e-6)

    @pytest.mark.parametrize("shape", [(2,), (2, 1)])
    def test_query_weights_do_not_land_on_documents(self, shape):
        """B = N: a weight [B] must not be broadcast over the columns."""
        weight = np.array([5.0, 1.0]).reshape(shape)
        actual = values(pairwise(reduction="none")(LABELS, SCORES, weight))
        np.testing.assert_allclose(actual, [5 * FIRST, SECOND], rtol=1e-6)

    def test_document_weights_by_hand(self):
        weight = np.array([[2.0, 9.0], [9.0, 4.0]])  # the pair has the weight of its higher document
        fn = get_loss("pairwise_logistic", normalization="sum").get_loss_fn(reduction="none")
        np.testing.assert_allclose(values(fn(LABELS, SCORES, weight)), [2 * FIRST, 4 * SECOND], rtol=1e-6)
        fn = get_loss("pairwise_logistic", normalization="batch").get_loss_fn()
        np.testing.assert_allclose(values(fn(LABELS, SCORES, weight)), (2 * FIRST + 4 * SECOND) / 6, rtol=1e-6)

    @each_loss(elsewhere="key")
    def test_weights_of_a_wrong_shape_are_refused(self, key):
        batch, fn = float32(make_batch(key)), get_loss(key).get_loss_fn()
        for shape in [(6,), (8,), (1,), (7, 5), (6, 6), (1, 6), (7, 6, 1), (7, 1, 1), (7, 2)]:
            with pytest.raises(UserError, match="sample_weight") as caught:
                fn(batch.labels, batch.scores, np.ones(shape))
            assert str(shape) in str(caught.value)

    def test_document_weights_for_classes_are_refused(self):
        batch = float32(make_batch("categorical_cross_entropy", rows=6))
        one_hot = np.eye(6, dtype="float32")
        for loss in ("categorical_cross_entropy", {"categorical_cross_entropy": 1.0}):
            with pytest.raises(UserError, match="sample_weight"):
                get_loss(loss).get_loss_fn()(one_hot, batch.scores, np.ones((6, 6)))


class TestShapes:
    @each_loss(lambda case: case.layout in ("list", "columns") and not case.random)
    def test_scores_of_one_output_per_document_are_lists(self, key):
        """The output of a `Dense(1)` over documents, [B, N, 1]."""
        batch, fn = keras_batch(key), get_loss(key).get_loss_fn()
        expected = values(fn(batch.labels, batch.scores))
        assert values(fn(batch.labels, batch.scores[..., None])) == expected
        assert values(fn(batch.labels[..., None], batch.scores[..., None])) == expected

    @pytest.mark.parametrize(
        ("labels", "scores"),
        [((7, 5), (7, 6)), ((7,), (7, 6)), ((7, 6), (7, 6, 2)), ((6, 6), (7, 6)), ((7, 6), (7,))],
        ids=str,
    )
    def test_wrong_list_shapes_are_refused(self, labels, scores):
        for key in ("list_mle", "softmax_cross_entropy", "sigmoid_cross_entropy", "pairwise_logistic"):
            with pytest.raises(UserError, match=r"\[B, N\]") as caught:
                get_loss(key).get_loss_fn()(np.ones(labels), np.ones(scores))
            for shape in (labels, scores):
                assert str(list(shape)) in str(caught.value)

    @pytest.mark.parametrize(
        ("labels", "scores"), [((7, 5), (7, 6)), ((6,), (7, 6)), ((7,), (7,)), ((7, 6, 1), (7, 6))], ids=str
    )
    def test_wrong_class_shapes_are_refused(self, labels, scores):
        with pytest.raises(UserError, match=r"\[B, K\]") as caught:
            get_loss("categorical_cross_entropy").get_loss_fn()(np.ones(labels), np.ones(scores))
        for shape in (labels, scores):
            assert str(list(shape)) in str(caught.value)

    def test_number_of_class_weights_must_match(self):
        with pytest.raises(UserError, match="6 classes"):
            get_loss("categorical_cross_entropy", class_weight=[1, 2]).get_loss_fn()(np.ones(7), np.ones((7, 6)))


class TestLabels:
    def test_labels_out_of_range_are_refused(self):
        fn = get_loss("rank_one_listnet").get_loss_fn()
        for sum_of in (fn, get_loss({"softmax_cross_entropy": 1, "rank_one_listnet": 1}).get_loss_fn()):
            with pytest.raises(UserError, match=r"'rank_one_listnet' takes labels from 0 to 1. Received: 3"):
                sum_of(np.array([[0.0, 3.0]]), SCORES[:1])
        assert np.isfinite(values(fn(np.array([[0.0, -3.0]]), SCORES[:1])))  # padding
        assert np.isfinite(values(get_loss("rank_one_listnet").get_loss_fn(mask=[[1, 0]])([[0.0, 3.0]], SCORES[:1])))

    def test_class_number_beyond_the_scores_is_refused(self):
        scores = np.zeros((2, 3))
        fn = get_loss("categorical_cross_entropy").get_loss_fn()
        with pytest.raises(UserError, match=r"class numbers from 0 to 2.*Received: 7"):
            fn(np.array([0, 7]), scores)
        with pytest.raises(UserError, match=r"class numbers from 0 to 2.*Received: 3"):
            fn(np.array([[0], [3]]), scores)
        ignoring = get_loss("categorical_cross_entropy", ignore_index=255).get_loss_fn()
        assert values(ignoring(np.array([0, 255]), scores)) == pytest.approx(math.log(3))


class TestMask:
    @each_loss(lambda case: case.layout != "columns", quick="family")
    def test_mask_overrides_padding_by_label(self, key):
        batch = float32(make_batch(key))
        expected = np.mean(oracle(key, batch, weighted=False))
        labels = fill(batch.labels, batch.mask, 0.0)
        for dtype in ("bool", "float32", "int64"):
            fn = get_loss(key).get_loss_fn(mask=batch.mask.astype(dtype))
            if dtype != "int64":
                assert values(fn(labels, batch.scores)) == pytest.approx(expected, rel=1e-5)
        value, slopes = value_and_gradient(lambda s: fn(labels, s), batch.scores)
        assert value == pytest.approx(expected, rel=1e-5)
        assert (slopes[~batch.mask] == 0).all()

    def test_mask_of_one_hot_classes_has_one_entry_per_row(self):
        batch = float32(make_batch("categorical_cross_entropy", rows=6))
        one_hot = np.eye(6, dtype="float32")[batch.labels.astype(int)]
        fn = get_loss("categorical_cross_entropy").get_loss_fn(mask=batch.mask)
        expected = categorical_cross_entropy(batch.labels, batch.scores, batch.mask, None)
        assert values(fn(one_hot, batch.scores)) == pytest.approx(np.mean(expected), rel=1e-5)
        with pytest.raises(UserError, match="mask"):
            get_loss("categorical_cross_entropy").get_loss_fn(mask=np.ones((6, 6)))(one_hot, batch.scores)

    @pytest.mark.parametrize("argument", ["mask", "positions"])
    def test_mask_and_positions_of_a_wrong_shape_are_refused(self, argument):
        for key in ("list_mle", "rank_one_listnet"):
            with pytest.raises(UserError, match=rf"`{argument}`.*\(2, 2\).*\(2, 3\)"):
                get_loss(key).get_loss_fn(**{argument: np.ones((2, 3))})(LABELS, SCORES)

    @pytest.mark.parametrize("min_label", [None, -5.0, 0.5, 2.0])
    def test_labels_below_min_label_are_padding(self, min_label):
        batch = float32(make_batch("softmax_cross_entropy", padded=False))
        labels = batch.labels - 1
        mask = np.ones_like(batch.mask) if min_label is None else labels >= min_label
        expected = softmax_cross_entropy(labels, batch.scores, mask, None)
        fn = get_loss("softmax_cross_entropy", min_label=min_label).get_loss_fn(reduction="none")
        np.testing.assert_allclose(values(fn(labels, batch.scores)), expected, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("argument", ["mask", "positions"])
    def test_symbolic_tensor_is_refused_at_once(self, argument):
        with pytest.raises(UserError, match=f"`{argument}` is a symbolic tensor.* RelevanceModel"):
            get_loss("pairwise_logistic").get_loss_fn(**{argument: keras.Input((6,), name=argument)})

    def test_other_metadata_is_ignored(self):
        extra = {"query_id": ["a", "b"], "loss": 7, "batch_size": 2, "is_aux_loss": True}
        assert values(pairwise(**extra)(LABELS, SCORES)) == values(pairwise()(LABELS, SCORES))


class TestPositions:
    SHOWN = np.array([[1, 4], [200, 2]])

    @pytest.mark.parametrize(
        ("propensity", "weights"),
        [
            (None, [[1, 4], [10, 2]]),
            ("power", [[1, 4], [10, 2]]),
            ({"key": "power", "eta": 0.5, "clip": 3}, [[1, 2], [3, math.sqrt(2)]]),
            ({"key": "power", "eta": 0}, [[1, 1], [1, 1]]),
            ([1.0, 0.5, 0.25, 0.05], [[1, 10], [10, 2]]),
            ({"key": "table", "values": [0.5, 0.1], "clip": 5}, [[2, 5], [5, 5]]),
        ],
        ids=str,
    )
    def test_propensity_weights_by_hand(self, propensity, weights):
        np.testing.assert_allclose(values(propensity_weight(self.SHOWN, propensity)), weights, rtol=1e-6)
        fn = get_loss("softmax_cross_entropy").get_loss_fn(
            positions=self.SHOWN, propensity=propensity, reduction="none"
        )
        relevant = [weights[0][0], weights[1][1]]  # the softmax family multiplies the label
        np.testing.assert_allclose(values(fn(LABELS, SCORES)), np.array(relevant) * [FIRST, SECOND], rtol=1e-6)
        actual = values(fn(LABELS, SCORES, np.array([[3.0, 1.0], [1.0, 0.5]])))
        np.testing.assert_allclose(actual, np.array(relevant) * [3 * FIRST, 0.5 * SECOND], rtol=1e-6)
        actual = values(fn(LABELS, SCORES, np.array([3.0, 0.5])))
        np.testing.assert_allclose(actual, np.array(relevant) * [3 * FIRST, 0.5 * SECOND], rtol=1e-6)

    def test_padding_positions_get_zero_weight(self):
        for garbage in (0, -1, np.nan):
            np.testing.assert_array_equal(values(propensity_weight(np.array([[3.0, garbage]]))), [[3, 0]])

    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ("powr", "Did you mean 'power'"),
            ({"key": "power", "et": 1}, "Did you mean 'eta'"),
            ({"key": "power", "eta": -1}, "`eta`"),
            ({"key": "power", "clip": 0}, "`clip`"),
            ([0.5, 0.0], "probabilities"),
            ([1.5], "probabilities"),
            ([], "probabilities"),
            ({"key": "table"}, "probabilities"),
        ],
        ids=str,
    )
    def test_wrong_propensity_is_refused(self, spec, message):
        with pytest.raises(UserError, match=message):
            pairwise(propensity=spec)


class TestLogits:
    @each_loss(elsewhere="key")
    def test_activated_scores_give_the_loss_of_their_logits(self, key):
        loss = get_loss(key)
        batch = float32(make_batch(key))
        if not loss.invertible:
            with pytest.raises(UserError, match=rf"from_logits=False.*{loss.activation}"):
                loss.get_loss_fn(from_logits=False)
            return
        if case_of(key).documents:
            activated = loss.get_final_activation_op("score")(batch.scores, batch.mask)
        else:
            activated = loss.get_final_activation_op("score")(batch.scores)
        expected = values(loss.get_loss_fn(reduction="none")(batch.labels, batch.scores))
        fn = loss.get_loss_fn(from_logits=False, reduction="none")
        np.testing.assert_allclose(values(fn(batch.labels, activated)), expected, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("key", ["sigmoid_cross_entropy", "softmax_cross_entropy", "rank_one_listnet"])
    def test_probabilities_of_zero_and_one_are_finite(self, key):
        fn = get_loss(key).get_loss_fn(from_logits=False)
        activated = np.array([[1.0, 0.0, 0.0]], dtype="float32")
        for labels in ([[1.0, 0.0, 0.0]], [[0.0, 0.0, 1.0]]):
            assert np.isfinite(values(fn(np.array(labels), activated)))
            assert np.isfinite(gradient(lambda s, labels=labels: fn(np.array(labels), s), activated)).all()
