"""Embedding losses: refused inputs, and values computed by hand."""

import math

import keras
import numpy as np
import pytest

from losses.numeric import assert_close, value_and_gradient, values
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.losses.factory import get_loss
from ml4ir_losses.ops.counting import counts_below

RNG = np.random.default_rng(3)
PAIRS, MINED = (
    ("contrastive", "cosent", "cosine_similarity"),
    ("batch_all_triplet", "batch_hard_triplet", "batch_semi_hard_triplet"),
)


def shape_error(key, y_true, y_pred, **params):
    with pytest.raises(UserError) as caught:
        get_loss(key, **params).get_loss_fn()(np.ones(y_true), np.ones(y_pred))
    message = str(caught.value)
    assert "\n" not in message
    assert repr(key) in message
    assert str(list(y_pred)) in message
    return message


class TestShapes:
    @pytest.mark.parametrize("key", PAIRS)
    @pytest.mark.parametrize(
        ("y_true", "y_pred"),
        [((4,), (4, 8)), ((4,), (4, 1, 8)), ((4,), (4, 3, 8)), ((5,), (4, 2, 8)), ((4, 2), (4, 2, 8)), ((4,), (4,))],
        ids=str,
    )
    def test_pairs_need_two_columns(self, key, y_true, y_pred):
        assert "C = 2 columns of embeddings" in shape_error(key, y_true, y_pred)

    def test_labels_may_be_a_column(self):
        fn = get_loss("contrastive").get_loss_fn(reduction="none")
        y, x = np.array([0.0, 1.0, 1.0]), RNG.normal(size=(3, 2, 8))
        assert_close(values(fn(y[:, None], x)), values(fn(y, x)))

    @pytest.mark.parametrize("columns", [2, 4])
    def test_triplets_need_three_columns(self, columns):
        assert "C = 3 columns of embeddings" in shape_error("triplet", (4,), (4, columns, 8))

    def test_angle_needs_two_columns_or_more(self):
        assert "C of at least 2 columns" in shape_error("angle", (4,), (4, 1, 8))

    def test_odd_embedding_size_is_refused(self):
        assert "an even size D" in shape_error("angle", (4,), (4, 2, 7))

    @pytest.mark.parametrize(
        ("key", "y_true", "y_pred", "wanted"),
        [
            ("embedding_margin_mse", (4,), (4, 4, 8), r"[B, 1+n] teacher scores"),
            ("embedding_margin_mse", (4, 1), (4, 4, 8), r"[B, 1+n] teacher scores"),
            ("embedding_margin_mse", (4, 4), (4, 4, 8), r"[B, 1+n] teacher scores"),
            ("embedding_margin_mse", (4, 2, 1), (4, 4, 8), r"[B, 1+n] teacher scores"),
            ("embedding_margin_mse", (4, 1), (4, 2, 8), "C of at least 3"),
            ("embedding_mse", (4, 7), (4, 2, 8), "[B, D] or [B, C, D], a teacher's embedding"),
            ("embedding_mse", (4,), (4, 8), "[B, D] or [B, C, D], a teacher's embedding"),
            ("embedding_mse", (4, 3, 8), (4, 2, 8), "[B, D] or [B, C, D], a teacher's embedding"),
            ("embed_distill", (4, 2, 7), (4, 2, 8), "[B, D] or [B, C, D], a teacher's embedding"),
            ("distill_kl_div", (4, 4), (4, 4, 8), "[B, n], the teacher's scores"),
            ("distill_kl_div", (4,), (4, 4, 8), "[B, n], the teacher's scores"),
        ],
        ids=str,
    )
    def test_teacher_scores_of_a_wrong_shape_are_refused(self, key, y_true, y_pred, wanted):
        assert wanted in shape_error(key, y_true, y_pred)

    @pytest.mark.parametrize("key", ["proxy_anchor", "proxy_nca", "arc_face", "cos_face"])
    def test_heads_need_one_output_per_class(self, key):
        assert "[B, K], one output of the head per class" in shape_error(key, (4,), (4, 2, 8))

    def test_num_labels_must_match_the_scores(self):
        assert "num_labels=3" in shape_error("pair_softmax", (4,), (4, 5), num_labels=3)


class TestLabels:
    @pytest.mark.parametrize(
        ("key", "labels", "message"),
        [
            ("contrastive", [0.0, 1.5], r"labels from 0 to 1\. Received: 1\.5"),
            ("online_contrastive", [0.0, 0.5], r"labels 0 and 1\. Received: 0\.5"),
            ("contrastive_tension", [0.0, -1.0], r"labels 0 and 1\. Received: -1"),
        ],
    )
    def test_pair_labels_out_of_range_are_refused(self, key, labels, message):
        x = RNG.normal(size=(2, 2, 4))
        with pytest.raises(UserError, match=message):
            get_loss(key).get_loss_fn()(np.array(labels), x)
        assert np.isfinite(values(get_loss(key).get_loss_fn(mask=np.array([1, 0]))(np.array(labels), x)))

    @pytest.mark.parametrize("labels", [[0, 3], [-1, 0], [0.5, 0]])
    def test_class_numbers_out_of_range_are_refused(self, labels):
        with pytest.raises(UserError, match=r"class numbers"):
            get_loss("cos_face").get_loss_fn()(np.array(labels), np.zeros((2, 3)))


@pytest.mark.parametrize("key", [*MINED, "batch_hard_soft_margin_triplet"])
class TestBatchesWithoutAPair:
    """No two rows share a class: losses over positive pairs are 0; losses over hardest rows push all rows apart."""

    def test_value_and_gradient_are_finite(self, key):
        x, loss = RNG.normal(size=(4, 8)).astype("float32"), get_loss(key).get_loss_fn()
        value, slopes = value_and_gradient(lambda x: loss(np.arange(4), x), x)
        assert np.isfinite(value)
        assert np.isfinite(slopes).all()
        if key in ("batch_all_triplet", "batch_semi_hard_triplet"):
            assert value == 0.0
            assert not slopes.any()
        masked = get_loss(key).get_loss_fn(mask=np.array([1, 0, 1, 0]))  # masks the second row of each class
        assert np.isfinite(values(masked(np.array([0, 0, 1, 1]), x)))

    def test_fit_continues(self, key):
        """The first batch has no pair, the second has."""
        x, labels = RNG.normal(size=(8, 5)).astype("float32"), np.array([0, 1, 2, 3, 0, 0, 1, 1], "float32")
        model = keras.Sequential([keras.layers.Input((5,)), keras.layers.Dense(3)])
        model.compile(optimizer="sgd", loss=get_loss(key).get_loss_fn())
        history = model.fit(x, labels, batch_size=4, epochs=2, shuffle=False, verbose=0).history["loss"]
        assert np.isfinite(history).all()


class TestParameters:
    @pytest.mark.parametrize(
        ("key", "params", "message"),
        [
            ("triplet", {"distance": "cosin"}, r"`distance` must be one of .* Did you mean 'cosine'"),
            ("triplet", {"margin": -1.0}, "`margin`"),
            ("cosent", {"similarity": "angle"}, "`similarity`"),
            ("cosent", {"scale": 0.0}, "`scale`"),
            ("contrastive", {"size_average": 1}, "`size_average`"),
            ("cosine_similarity", {"loss_fct": "mea"}, "`loss_fct` must be one of mse, mae, huber"),
            ("cosine_similarity", {"cos_score_transformation": 3}, "`cos_score_transformation`"),
            ("proxy_nca", {"softmax_scale": -1}, "`softmax_scale`"),
            ("global_orthogonal_regularization", {"mean_weight": None, "second_moment_weight": 0.0}, "must be above 0"),
            ("pair_softmax", {"num_labels": 0}, "`num_labels`"),
            ("pair_softmax", {}, "needs the parameter 'num_labels'"),
            (
                "pair_softmax",
                {"num_labels": 2, "concatenation_sent_rep": False, "concatenation_sent_difference": False},
                "must be true",
            ),
        ],
        ids=str,
    )
    def test_wrong_value_is_refused(self, key, params, message):
        with pytest.raises(UserError, match=message):
            get_loss(key, **params)

    def test_unregistered_function_cannot_be_saved(self):
        with pytest.raises(UserError, match="register_keras_serializable"):
            get_loss("cosine_similarity", loss_fct=lambda y, x: y - x).get_config()

    def test_keras_loss_as_loss_fct_equals_the_builtin(self):
        x, y = RNG.normal(size=(5, 2, 4)), RNG.normal(size=5)
        expected = values(get_loss("cosine_similarity").per_query(y, x))
        actual = get_loss("cosine_similarity", loss_fct=keras.losses.mean_squared_error).per_query(y, x)
        assert_close(values(actual), expected, double=1e-6)  # Keras' mean is float32 on torch


class TestByHand:
    def test_contrastive_sum_and_mean(self):
        """1 - cosine of the rows is 0, 1 and 2."""
        x = np.array([[[1.0, 0], [2, 0]], [[1, 0], [0, 3]], [[1, 0], [-1, 0]]])
        y = np.array([1.0, 1.0, 1.0])
        terms = 0.5 * np.array([0.0, 1.0, 4.0])
        for size_average, factor in ((True, 1), (False, 3)):
            loss = get_loss("contrastive", size_average=size_average)
            assert_close(values(loss.per_query(y, x)), factor * terms)
            masked = values(loss.per_query(y, x, mask=np.array([True, True, False])))
            assert_close(masked, np.array([0.0, 1.5 if size_average else 3.0, 0.0]) * terms)

    def test_online_contrastive_with_one_pair_of_each_kind(self):
        """The similar pair is at distance 1, the dissimilar one at 0.2: both are hard."""
        x = np.array([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.8, 0.6]]])
        rows = values(get_loss("online_contrastive").per_query(np.array([1.0, 0.0]), x))
        assert_close(rows, np.array([1.0, 0.3**2]))

    @pytest.mark.parametrize("key", ["cosent", "angle"])
    def test_equal_labels_give_zero_loss(self, key):
        x = RNG.normal(size=(4, 2, 6))
        loss = get_loss(key)
        value, slopes = value_and_gradient(lambda z: loss.per_query(np.ones(4), z), x)
        assert not value.any()
        assert not slopes.any()

    @pytest.mark.parametrize("labels", [None, [0.9, 0.2, 0.5]])
    def test_angle_of_n_tuples_equals_angle_of_their_pairs(self, labels):
        """A negative is a pair with the anchor, whose label is 1 minus that of the positive."""
        x, y = RNG.normal(size=(3, 4, 6)), np.ones(3) if labels is None else np.array(labels)
        pairs = np.stack([np.tile(x[:, :1], (1, 3, 1)), x[:, 1:]], axis=2).transpose(1, 0, 2, 3).reshape(9, 2, 6)
        loss = get_loss("angle", scale=3.0)
        pair_labels = np.concatenate([y, 1 - y, 1 - y])
        expected, pair_slopes = value_and_gradient(lambda z: loss.per_query(pair_labels, z), pairs)
        given = None if labels is None else y
        rows, slopes = value_and_gradient(lambda z: loss.pure_function(given, z, scale=3.0), x)
        assert_close(rows, expected[:3])
        pair_slopes = pair_slopes.reshape(3, 3, 2, 6)
        expected_slopes = np.concatenate([pair_slopes[:, :, 0].sum(0)[:, None], pair_slopes[:, :, 1].swapaxes(0, 1)], 1)
        assert_close(slopes, expected_slopes / 3, double=1e-8)

    def test_regulariser_is_zero_for_orthogonal_embeddings(self):
        value = get_loss("global_orthogonal_regularization").get_loss_fn()(np.zeros(4), np.eye(4)[:, None, :])
        assert_close(values(value), 0.0)

    @pytest.mark.parametrize("key", MINED)
    def test_values_of_a_batch_of_one_class(self, key):
        """Without negatives nothing is pushed apart; semi-hard triplets still pull positives together."""
        x, y = RNG.normal(size=(4, 6)), np.zeros(4)
        loss = get_loss(key, margin=2.0)
        rows, slopes = value_and_gradient(lambda z: loss.per_query(y, z), x)
        distances = np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1))
        expected = {
            "batch_all_triplet": np.zeros(4),
            "batch_hard_triplet": np.full(4, 2.0),
            "batch_semi_hard_triplet": distances.sum(1) / 3 + 2.0,
        }[key]
        assert_close(rows, expected, double=1e-7)
        assert (np.abs(slopes).max() > 0.1) == (key == "batch_semi_hard_triplet")

    def test_pair_softmax_of_class_probabilities_matches_numpy(self):
        logits, mask = RNG.normal(size=(5, 3)), np.array([1, 1, 0, 1, 1], bool)
        target = RNG.dirichlet(np.ones(3), 5)
        log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        loss = get_loss("pair_softmax", num_labels=3)
        found = values(loss.per_query(target, logits, mask=mask))
        assert_close(found, np.where(mask, -(target * log_p).sum(1) * 5 / 4, 0.0))
        one_hot = np.eye(3)[[0, 2, 1, 1, 0]]
        assert_close(
            values(loss.get_loss_fn()(one_hot, logits)), values(loss.get_loss_fn()(np.array([0, 2, 1, 1, 0]), logits))
        )
        with pytest.raises(UserError, match="add up to 1"):
            loss.get_loss_fn()(2 * target, logits)

    def test_arc_face_margin_widens_the_angle(self):
        """At 60° a margin of 30° gives cosine 0; beyond 150° the function keeps decreasing."""
        x = np.array([[0.5, 0.0], [-1.0, 0.0]])
        rows = values(get_loss("arc_face", margin=30.0, scale=1.0).per_query(np.zeros(2), x))
        expected = [math.log(2), math.log1p(math.exp(1 + math.pi / 12))]
        assert_close(rows, expected)


@pytest.mark.parametrize("or_equal", [False, True])
def test_counts_below_match_numpy(or_equal):
    x, y = RNG.integers(-2, 3, (5, 4)) * 0.5, RNG.integers(-2, 3, (5, 7)) * 0.5
    counted = RNG.random((5, 7)) < 0.6
    x[0, 0], y[0, 0], y[0, 1], counted[0, :2] = 0.0, -0.0, 0.0, True
    below = y[:, None, :] <= x[:, :, None] if or_equal else y[:, None, :] < x[:, :, None]
    expected = (below & counted[:, None, :]).sum(-1)
    np.testing.assert_array_equal(values(counts_below(x, y, counted, or_equal)), expected)
