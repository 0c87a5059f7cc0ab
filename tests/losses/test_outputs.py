"""Pointwise losses: single rows, roots and several logits per document."""

import math

import numpy as np
import pytest

from losses.numeric import assert_close, gradient, values
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.losses.factory import get_loss
from ml4ir_losses.losses.pointwise.single_logit import binary_cross_entropy


class TestSingleRows:
    LABELS, SCORES = np.array([1.0, 0.0, 0.25, -1.0]), np.array([0.5, -1.0, 2.0, np.nan])
    TERMS = (math.log1p(math.exp(-0.5)), math.log1p(math.exp(-1)), math.log1p(math.exp(2)) - 0.5, 0.0)

    @pytest.mark.parametrize("normalization", ["query", "batch", "sum"])
    def test_rows_equal_single_document_queries(self, normalization):
        loss = get_loss("binary_cross_entropy", normalization=normalization)
        rows = np.array(self.TERMS) * (4 / 3 if normalization == "batch" else 1)
        assert_close(values(loss.per_query(self.LABELS, self.SCORES)), rows)
        weight = np.array([2.0, 1.0, 0.0, 1.0])
        fn = loss.get_loss_fn(reduction="none")
        assert_close(values(fn(self.LABELS, self.SCORES, weight)), rows * weight, double=1e-6)
        assert gradient(lambda s: fn(self.LABELS, s), self.SCORES)[3] == 0

    def test_document_weights_in_the_pure_function(self):
        actual = binary_cross_entropy(
            self.LABELS, self.SCORES, self.LABELS >= 0, item_weight=np.full(4, 2.0), normalization="sum"
        )
        assert_close(values(actual), 2 * np.array(self.TERMS))

    def test_constant_weight_multiplies_rows_or_places(self):
        weight = [2.0, 0.0, 1.0, 3.0]
        rows = get_loss("binary_cross_entropy", weight=weight).per_query(self.LABELS, self.SCORES)
        assert_close(values(rows), np.array(weight) * self.TERMS)
        places = get_loss("binary_cross_entropy", weight=weight).per_query(self.LABELS[None], self.SCORES[None])
        assert_close(values(places), [np.dot(weight, self.TERMS) / 3])

    @pytest.mark.parametrize(("y_true", "y_pred"), [((4,), (3,)), ((4, 2), (4, 3)), ((1, 4, 2),) * 2])
    def test_wrong_shapes_are_refused(self, y_true, y_pred):
        with pytest.raises(UserError, match=r"\[B, N\] .* or \[B\]"):
            get_loss("binary_cross_entropy").get_loss_fn()(np.ones(y_true), np.ones(y_pred))

    def test_labels_above_one_are_refused(self):
        with pytest.raises(UserError, match=r"takes labels from 0 to 1\. Received: 2"):
            get_loss("binary_cross_entropy").get_loss_fn()(np.array([2.0]), np.array([0.0]))


@pytest.mark.parametrize("normalization", ["query", "batch", "sum"])
def test_gradient_of_the_root_is_finite_at_zero_error(normalization):
    loss = get_loss("root_mean_squared_error", no_of_levels=2, normalization=normalization)
    labels, scores = np.ones((2, 3), "float32"), np.zeros((2, 3), "float32")
    assert not values(loss.per_query(labels, scores)).any()
    assert not gradient(lambda s: loss.per_query(labels, s), scores).any()
    nearly = gradient(lambda s: loss.per_query(labels, s), scores + np.float32(1e-3))
    assert np.isfinite(nearly).all()
    assert (nearly > 0).all()


class TestOrdinal:
    def test_fractional_labels(self):
        """Targets of label 1.25 for K = 3: 1, 0.25, 0; without fractions 1, 0, 0."""
        scores = np.array([[[0.0, 1.0, -1.0]]])
        low, high = math.log1p(math.exp(-1)), math.log1p(math.exp(1))
        for fraction, second in ((True, 0.25 * low + 0.75 * high), (False, high)):
            loss = get_loss("ordinal", ordinal_size=3, use_fraction_label=fraction)
            assert_close(values(loss.per_query(np.array([[1.25]]), scores)), [math.log(2) + second + low])

    def test_labels_above_the_last_level_count_as_the_last(self):
        loss, scores = get_loss("ordinal", ordinal_size=2), np.random.default_rng(0).normal(size=(1, 3, 2))
        at_top = values(loss.per_query(np.full((1, 3), 2.0), scores))
        assert_close(values(loss.per_query(np.full((1, 3), 7.0), scores)), at_top)

    def test_one_level_equals_binary_cross_entropy(self):
        labels, scores = np.array([[1.0, 0.0, 1.0]]), np.array([[0.3, -0.2, 2.0]])
        expected = values(get_loss("sigmoid_cross_entropy").per_query(labels, scores))
        loss = get_loss("ordinal", ordinal_size=1)
        for given in (scores, scores[..., None]):
            loss.check_shapes(labels.shape, given.shape)
            assert_close(values(loss.per_query(labels, given)), expected)
            assert loss.rank_scores(given).shape == (1, 3)

    def test_ordinal_size_is_required(self):
        for make in (lambda: get_loss("ordinal"), lambda: type(get_loss("ordinal", ordinal_size=2))()):
            with pytest.raises(UserError, match="needs the parameter 'ordinal_size'"):
                make()
        for wrong in (0, 1.5, None, True):
            with pytest.raises(UserError, match="`ordinal_size` must be a whole number of at least 1"):
                get_loss("ordinal", ordinal_size=wrong)


@pytest.mark.parametrize(
    ("spec", "shape", "wanted"),
    [
        ({"key": "ordinal", "ordinal_size": 3}, (2, 4, 2), r"K = ordinal_size = 3\. Received: .*\[2, 4, 2\]"),
        ({"key": "ordinal", "ordinal_size": 3}, (2, 4), r"K = ordinal_size = 3\. Received: .*\[2, 4\]"),
        ("click_em", (2, 4, 3), r"\[B, N, 2\]\. Received: .*\[2, 4, 3\]"),
        ("click_em", (2, 3, 2), r"\[B, N, 2\]\. Received: .*\[2, 3, 2\]"),
        ("mixture_em", (2, 4), r"\[B, N, M\]\. Received: .*\[2, 4\]"),
    ],
    ids=str,
)
def test_wrong_output_shapes_are_refused(spec, shape, wanted):
    with pytest.raises(UserError, match=wanted):
        get_loss(spec).get_loss_fn()(np.ones((2, 4)), np.ones(shape))


def test_mixture_of_one_equals_softmax_cross_entropy():
    rng = np.random.default_rng(0)
    labels, scores = np.array([[1.0, 0.0, 2.0]]), rng.normal(size=(1, 3))
    expected = values(get_loss("sigmoid_cross_entropy").per_query(labels, scores / 0.5))
    assert_close(values(get_loss("mixture_em", temperature=0.5).per_query(labels, scores[..., None])), expected)


def test_mixture_gradient_is_that_of_the_likelihood():
    """With alpha = 1 the gradient is that of -ln Σ_m exp(-L_m): an exact EM step."""
    rng = np.random.default_rng(1)
    labels, scores = rng.integers(0, 2, (1, 5)).astype("float64"), rng.normal(size=(1, 5, 3))
    labels[0, 0] = 1.0
    actual = gradient(lambda s: get_loss("mixture_em", normalization="sum").per_query(labels, s), scores)
    p = 1 / (1 + np.exp(-scores))
    likelihood = -(labels[..., None] * np.log(p) + (1 - labels[..., None]) * np.log(1 - p)).sum(1)
    share = np.exp(-likelihood) / np.exp(-likelihood).sum()
    assert_close(actual, share[:, None] * (p - labels[..., None]))


def test_weighted_sum_needs_members_of_equal_outputs():
    ordinal = {"key": "ordinal", "ordinal_size": 2}
    with pytest.raises(UserError, match=r"same number of logits per document\. Received: click_em 2, list_mle 1"):
        get_loss({"click_em": 1.0, "list_mle": 1.0})
    both = get_loss({"key": "weighted_sum", "losses": [[ordinal, 1.0], ["click_em", 0.5]]})
    assert both.outputs == 2
    labels, scores = np.array([[1.0, 0.0]]), np.array([[[0.1, 0.2], [-0.3, 0.4]]])
    expected = values(get_loss(ordinal).per_query(labels, scores)) + 0.5 * values(
        get_loss("click_em").per_query(labels, scores)
    )
    assert_close(values(both.per_query(labels, scores)), expected)
    assert_close(values(both.rank_scores(scores)), values(get_loss(ordinal).rank_scores(scores)))
