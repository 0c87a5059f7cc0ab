"""Margin losses: input forms, the documented API of prob-margin, and the effect of confidences."""

import keras
import numpy as np
import pytest
from keras import ops

from losses.cases import make_batch
from losses.families.margin import prob_margin_ranking
from losses.numeric import assert_close, gradient, values
from ml4ir_losses.config.load import load_config
from ml4ir_losses.core.errors import ConfigError, DataError, UserError
from ml4ir_losses.core.names import CONFIDENCE
from ml4ir_losses.data.batching import BatchPlan
from ml4ir_losses.data.batching import make_batch as padded_batch
from ml4ir_losses.losses.factory import get_loss
from ml4ir_losses.losses.pairwise.prob_margin_ranking import FineTuningFeatures, RankingLossInterface
from ml4ir_losses.model.relevance_model import RelevanceModel
from small import config, read_queries, write_splits

KEYS = ("prob_margin_ranking", "cosine_prob_margin_ranking")


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class TestMarginMSE:
    scores = np.array([[0.5, -1.0, 2.0, 0.25], [1.5, 1.0, -0.5, 3.0]])
    teacher = np.array([[1.0, 0.5, -2.0, 0.0], [2.0, 3.0, 1.0, 0.5]])

    def test_teacher_scores_and_teacher_margins_give_equal_values(self):
        fn = get_loss("margin_mse").get_loss_fn()
        margins = self.teacher[:, :1] - self.teacher[:, 1:]
        expected = np.mean((self.scores[:, :1] - self.scores[:, 1:] - margins) ** 2)
        assert float(fn(self.teacher, self.scores)) == pytest.approx(expected, rel=1e-6)
        assert float(fn(margins, self.scores)) == pytest.approx(expected, rel=1e-6)

    def test_label_shapes_for_one_negative_are_equivalent(self):
        fn = get_loss("margin_mse").get_loss_fn()
        scores, teacher = self.scores[:, :2], self.teacher[:, :2]
        margins = teacher[:, 0] - teacher[:, 1]
        expected = np.mean((scores[:, 0] - scores[:, 1] - margins) ** 2)
        for labels in (teacher, margins, margins[:, None]):
            assert float(fn(labels, scores)) == pytest.approx(expected, rel=1e-6)

    @pytest.mark.parametrize("labels", [(2, 2), (2, 5), (2,), (3, 4), (2, 4, 2)], ids=str)
    def test_wrong_shapes_are_refused(self, labels):
        with pytest.raises(UserError, match=r"y_pred \[B, 1\+n\].*Received: y_true \[.*\], y_pred \[2, 4\]"):
            get_loss("margin_mse").get_loss_fn()(np.zeros(labels), self.scores)
        with pytest.raises(UserError, match=r"y_pred \[2, 1\]"):
            get_loss("margin_mse").get_loss_fn()(np.zeros((2, 1)), self.scores[:, :1])

    def test_negatives_below_min_label_do_not_count(self):
        loss = get_loss("margin_mse", min_label=0.0)
        scores = self.scores.copy()
        scores[0, 2] = np.nan  # its label is -2
        expected = [
            np.mean((np.array([1.5, 0.25]) - [0.5, 1.0]) ** 2),
            np.mean((np.array([0.5, 2, -1.5]) - [-1, 1, 1.5]) ** 2),
        ]
        assert_close(values(loss.per_query(self.teacher, scores)), expected)
        assert np.isfinite(gradient(lambda s: loss.per_query(self.teacher, s), scores)).all()

    def test_document_weights_are_refused(self):
        with pytest.raises(UserError, match="sample_weight"):
            get_loss("margin_mse").get_loss_fn()(self.teacher, self.scores, np.ones((2, 4)))

    @pytest.mark.backend("tensorflow")
    def test_unknown_sizes(self):
        import tensorflow as tf

        fn = get_loss("margin_mse").get_loss_fn()
        anything = tf.TensorSpec([None, None], tf.float64)
        graph = tf.function(lambda y, s: fn(y, s), input_signature=[anything, anything])
        for labels in (self.teacher, self.teacher[:, 1:]):
            assert float(graph(labels, self.scores)) == pytest.approx(float(fn(labels, self.scores)), rel=1e-6)


def pairs(count=6, seed=0):
    """y_true [M, 3], y_pred [M, 2]."""
    rng = np.random.default_rng(seed)
    target = rng.choice([-1.0, 1.0], count)
    return np.stack([target, rng.random(count), rng.random(count)], axis=-1), rng.normal(size=(count, 2))


def features(y_true, y_pred):
    return FineTuningFeatures(y_pred[:, 0], y_pred[:, 1], y_true[:, 0], y_true[:, 1], y_true[:, 2])


class TestPairs:
    @pytest.mark.parametrize("normalization", ["query", "batch", "sum"])
    def test_loss_is_the_mean_over_pairs(self, normalization):
        y, s = pairs()
        confidence, d = y[:, 1:].min(1), s[:, 0] - s[:, 1]
        expected = confidence * sigmoid(0.5 - y[:, 0] * d / 0.7)
        loss = get_loss("prob_margin_ranking", base_margin=0.5, temperature=0.7, normalization=normalization)
        assert_close(values(loss.per_query(y, s)), expected)
        assert_close(values(loss(features(y, s))), expected.mean())
        fn = loss.get_loss_fn()
        weight = np.arange(6.0)
        assert float(fn(y, s, weight)) == pytest.approx((weight * expected).mean(), rel=1e-5)
        with pytest.raises(UserError, match=r"weights \[M\]"):
            fn(y, s, np.ones((6, 3)))

    def test_fine_term_is_computed_over_the_batch(self):
        y, s = pairs()
        plain, fine = (get_loss("prob_margin_ranking", do_fine_small_difference=f) for f in (False, True))
        size = np.abs(s[:, 0] - s[:, 1])
        near = sigmoid(100 * (1 - size))
        expected = values(plain(features(y, s))) + (near * size).sum() / (near.sum() + 1e-10)
        assert_close(values(fine(features(y, s))), expected)
        assert_close(values(fine.per_query(y, s)).mean(), expected)

    @pytest.mark.parametrize("key", KEYS)
    def test_batch_without_pairs_is_zero(self, key):
        loss = get_loss(key)
        assert float(loss(FineTuningFeatures(*[np.zeros(0, "float32")] * 5))) == 0
        assert not values(loss.get_loss_fn()(np.zeros((0, 3), "float32"), np.zeros((0, 2), "float32"))).any()
        fine = get_loss("prob_margin_ranking", do_fine_small_difference=True)
        assert float(fine(FineTuningFeatures(*[np.zeros(0, "float32")] * 5))) == 0

    def test_negative_targets_are_not_padding(self):
        y, s = pairs()
        y[:, 0] = -1
        distances, similarities = y, np.concatenate([-y[:, :1], y[:, 1:]], axis=1)
        fn = get_loss("prob_margin_ranking").get_loss_fn()
        assert float(fn(distances, s)) == pytest.approx(float(fn(similarities, -s)), rel=1e-6)
        assert float(fn(distances, s)) > 0

    def test_scores_far_apart_are_finite(self):
        y = np.ones((4, 3), "float32")
        s = np.array([[1e4, 0], [-1e4, 0], [0, 1e4], [900, -900]], "float32")
        for key in KEYS:
            loss = get_loss(key)
            np.testing.assert_allclose(values(loss.per_query(y, s)), [0, 1, 1, 0])
            assert (gradient(lambda z, loss=loss: loss.per_query(y, z), s) == 0).all()

    def test_cosine_variant(self):
        y, s = pairs()
        s *= 0.02
        confidence, d = y[:, 1:].min(1), s[:, 0] - s[:, 1]
        loss = get_loss("cosine_prob_margin_ranking", base_margin=0.01)
        assert_close(values(loss.per_query(y, s)), confidence * sigmoid(400 * (0.01 - y[:, 0] * d) - 6))
        shipped = get_loss("cosine_prob_margin_ranking", base_margin=0.01, as_shipped=True)
        plain = get_loss("prob_margin_ranking", base_margin=0.01)
        np.testing.assert_array_equal(values(shipped(features(y, s))), values(plain(features(y, s))))

    @pytest.mark.backend("tensorflow")
    def test_xla_equals_eager(self):
        import tensorflow as tf

        y, s = pairs()
        for key in KEYS:
            loss = get_loss(key, base_margin=0.2).get_loss_fn()
            compiled = tf.function(lambda y, s, loss=loss: loss(y, s), jit_compile=True)
            assert float(compiled(y, s)) == pytest.approx(float(loss(y, s)), rel=1e-5)

    def test_saved_model_keeps_the_loss(self, tmp_path):
        y, s = pairs(32)
        inputs = keras.Input((2,))
        model = keras.Model(inputs, keras.layers.Dense(2, kernel_initializer="identity")(inputs))
        loss = get_loss("prob_margin_ranking", base_margin=0.3)
        model.compile(keras.optimizers.SGD(0.5), loss=loss.get_loss_fn())
        history = model.fit(s, y, epochs=3, batch_size=32, verbose=0).history["loss"]
        assert history[0] == pytest.approx(float(loss(features(y, s))), rel=1e-5)
        assert history[2] < history[0]
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        assert again.evaluate(s, y, verbose=0) == pytest.approx(model.evaluate(s, y, verbose=0), rel=1e-5)


class TestInterface:
    def test_set_margin_affects_functions_made_afterwards(self):
        y, s = pairs()
        for key in KEYS:
            loss = get_loss(key)
            assert isinstance(loss, RankingLossInterface)
            before = loss.get_loss_fn()
            loss.set_margin(1.5)
            after = loss.get_loss_fn()
            assert before.get_config()["loss"]["base_margin"] == 1.0
            assert after.get_config()["loss"]["base_margin"] == 1.5
            assert float(after(y, s)) == pytest.approx(float(loss(features(y, s))), rel=1e-6)
            assert float(after(y, s)) != pytest.approx(float(before(y, s)), rel=1e-3)
            assert float(loss.forward(features(y, s))) == float(loss(features(y, s)))

    @pytest.mark.parametrize("margin", [0, -1.0, float("nan"), "1", True])
    def test_margin_must_be_positive(self, margin):
        for key in KEYS:
            with pytest.raises(UserError, match=r"`base_margin` must be a number above 0"):
                get_loss(key, base_margin=margin)
            loss = get_loss(key)
            with pytest.raises(UserError, match=r"`margin` must be a number above 0"):
                loss.set_margin(margin)
            assert loss.params["base_margin"] == 1.0

    def test_features_of_unequal_length_are_refused(self):
        five = [np.ones(4), np.ones(4), np.ones(4), np.ones(4), np.ones(3)]
        with pytest.raises(UserError, match=r"negative_confidences \[3\]"):
            FineTuningFeatures(*five)
        with pytest.raises(UserError, match=r"1-D.*positive_ranks \[4, 1\]"):
            FineTuningFeatures(np.ones((4, 1)), *five[1:4], np.ones(4))
        with pytest.raises(TypeError, match="abstract"):
            RankingLossInterface()

    def test_wrong_inputs_are_refused(self):
        y, s = pairs()
        fn = get_loss("prob_margin_ranking").get_loss_fn()
        for labels, scores in [(y, s[:, 0]), (y[:4], s), (y[:, :1], s), (y[:, 0], s), (np.ones((6, 2, 3)), s)]:
            with pytest.raises(UserError, match=r"pairs: y_pred \[M, 2\].*Received: y_true \["):
                fn(labels, scores)
        with pytest.raises(UserError, match=r"is 1 or -1. Received: 0"):
            fn(y * [0, 1, 1], s)


def confident(batch, seed=1):
    return np.random.default_rng(seed).uniform(0, 1, batch.labels.shape)


class TestConfidences:
    def test_smaller_confidence_scales_a_pair(self):
        batch = make_batch("prob_margin_ranking")
        confidence = confident(batch)
        packed = np.stack([batch.labels, np.where(batch.mask, confidence, np.nan)], axis=-1)
        loss = get_loss("prob_margin_ranking", normalization="sum")
        expected = []
        for y, s, c, real in zip(batch.labels, batch.scores, confidence, batch.mask, strict=True):
            places = np.flatnonzero(real)
            terms = [min(c[i], c[j]) * sigmoid(1 - s[i] + s[j]) for i in places for j in places if y[i] > y[j]]
            expected.append(sum(terms))
        assert_close(values(loss.per_query(packed, batch.scores)), expected)
        assert np.isfinite(gradient(lambda s: loss.per_query(packed, s), batch.scores)).all()

    def test_confidences_of_one_equal_none(self):
        batch = make_batch("prob_margin_ranking")
        packed = np.stack([batch.labels, np.ones_like(batch.labels)], axis=-1)
        expected = prob_margin_ranking(batch.labels, batch.scores, batch.mask, batch.weight)
        fn = get_loss("prob_margin_ranking").get_loss_fn()
        assert float(fn(packed, batch.scores, batch.weight)) == pytest.approx(np.mean(expected), rel=1e-5)

    def test_list_of_two_equals_a_pair(self):
        """[M, 3] with [M, 2] gives the values of the same pairs as lists."""
        y, s = pairs()
        y[:, 0] = 1
        lists = np.stack([np.tile([1.0, 0.0], (6, 1)), y[:, 1:]], axis=-1)
        for key in KEYS:
            loss = get_loss(key)
            assert_close(values(loss.per_query(lists, s)), values(loss.per_query(y, s)))

    def test_other_members_of_a_weighted_sum_see_labels(self):
        batch = make_batch("prob_margin_ranking")
        packed = np.stack([batch.labels, confident(batch)], axis=-1)
        total = get_loss({"softmax_cross_entropy": 2.0, "prob_margin_ranking": 1.0}).get_loss_fn()
        soft, prob = (get_loss(key).get_loss_fn() for key in ("softmax_cross_entropy", "prob_margin_ranking"))
        expected = 2 * float(soft(batch.labels, batch.scores)) + float(prob(packed, batch.scores))
        assert float(total(packed, batch.scores)) == pytest.approx(expected, rel=1e-6)
        with pytest.raises(UserError, match=r"one shape \[B, N\]"):
            soft(packed, batch.scores)

    def test_gradient_of_a_pair_is_proportional_to_its_confidence(self):
        scores = np.tile([[0.3, 0.1]], (3, 1))
        for key, margin in zip(KEYS, (1.0, 0.2), strict=True):
            loss = get_loss(key, base_margin=margin)
            y = np.array([[1.0, 1.0, 1.0], [1.0, 0.25, 1.0], [1.0, 0.5, 0.0]])
            slopes = gradient(lambda s, loss=loss, y=y: loss.per_query(y, s), scores)
            assert abs(slopes[0, 0]) > 0.1
            assert_close(slopes, slopes[0] * np.array([[1.0], [0.25], [0.0]]))


def click_pairs(count, rng, noise):
    """(query, positive, negative [count, 3] each, confidence): clicks follow a hidden map, some are flipped."""
    hidden = np.array([[1.0, 0.5, 0.0], [-0.5, 1.0, 0.0], [0.0, 0.0, 0.0]])  # the third feature is misleading
    query, one, other = (rng.normal(size=(count, 3)) for _ in range(3))
    better = ((query @ hidden) * (one - other)).sum(1) > 0
    # Clicks of low confidence are wrong systematically: they follow the third feature of the items.
    doubtful = rng.random(count) < noise
    better = np.where(doubtful, one[:, 2] * query[:, 2] > other[:, 2] * query[:, 2], better)
    positive, negative = np.where(better[:, None], one, other), np.where(better[:, None], other, one)
    return [x.astype("float32") for x in (query, positive, negative)], np.where(doubtful, 0.05, 1.0)


def trained_accuracy(confidences):
    """The share of clean pairs in the right order, after training a map of the queries on noisy clicks."""
    rng = np.random.default_rng(5)
    columns, confidence = click_pairs(600, rng, noise=0.6)
    clean, _ = click_pairs(1000, rng, noise=0.0)
    inputs = [keras.Input((3,)) for _ in range(3)]
    query = keras.layers.Dense(3, use_bias=False, kernel_initializer=keras.initializers.Constant(0.1))(inputs[0])
    ranks = [keras.layers.Dot(axes=1)([query, item]) for item in inputs[1:]]
    model = keras.Model(inputs, keras.layers.Concatenate()(ranks))
    model.compile(keras.optimizers.Adam(0.05), loss=get_loss("prob_margin_ranking").get_loss_fn())
    given = confidence if confidences else np.ones_like(confidence)
    labels = np.stack([np.ones_like(given), given, given], axis=-1).astype("float32")
    model.fit(columns, labels, epochs=25, batch_size=60, verbose=0, shuffle=False)
    ranks = values(ops.convert_to_tensor(model.predict(clean, verbose=0)))
    return (ranks[:, 0] > ranks[:, 1]).mean()


def test_low_confidence_reduces_the_effect_of_wrong_labels():
    told, untold = trained_accuracy(confidences=True), trained_accuracy(confidences=False)
    assert told > 0.93
    assert untold < told - 0.1


@pytest.mark.usefixtures("eager_steps")
class TestConfig:
    """`features.confidence` of a ranking model."""

    def data(self, folder, values=lambda i: (i % 5) / 4):
        write_splits(folder)
        for split in ("train", "validation", "test"):
            header, *lines = (folder / f"{split}.csv").read_text().splitlines()
            lines = [f"{line},{values(i)}" for i, line in enumerate(lines)]
            (folder / f"{split}.csv").write_text("\n".join([f"{header},sure", *lines]) + "\n")
        return folder

    def build(self, folder, **model):
        loaded = load_config(config(folder, features={"confidence": "sure"}, model=model))
        built = RelevanceModel.from_config(loaded)
        queries = read_queries(loaded, built.fitted)
        x, y = padded_batch(BatchPlan(queries, 8), np.arange(8))
        return built, x, y, values(built(x)["logit"])

    @pytest.mark.parametrize("loss", ["prob_margin_ranking", {"prob_margin_ranking": 1.0, "list_mle": 0.5}], ids=str)
    def test_confidence_column_reaches_the_losses_that_read_it(self, tmp_path, loss):
        aux = [{"key": "softmax_cross_entropy", "weight": 0.5}]
        for extra in ({}, {"aux_losses": aux}):
            model, x, y, logits = self.build(self.data(tmp_path), loss=loss, **extra)
            packed = np.stack([y["label"], y[CONFIDENCE]], axis=-1)
            assert 0 < y[CONFIDENCE].mean() < 1
            expected = float(get_loss(loss).get_loss_fn()(packed, logits))
            if extra:
                expected += 0.5 * float(get_loss("softmax_cross_entropy").get_loss_fn()(y["label"], logits))
            logs = model.test_on_batch(x, y, return_dict=True)
            assert float(logs["loss"]) == pytest.approx(expected, rel=1e-5)
            plain = float(get_loss(loss).get_loss_fn()(y["label"], logits))
            assert float(logs["loss"]) != pytest.approx(plain, rel=1e-2)

    @pytest.mark.backend("tensorflow")
    def test_evaluation_works_without_the_confidence_column(self, tmp_path):
        from ml4ir_losses.experiments.evaluate import evaluate
        from ml4ir_losses.experiments.train import train

        sections = {"features": {"confidence": "sure"}, "model": {"loss": "prob_margin_ranking"}}
        run = train(config(self.data(tmp_path), **sections), tmp_path / "run")
        assert run.metrics["test"]["ndcg_5"] > run.baselines["random"]["ndcg_5"]
        judged = [line.rsplit(",", 1)[0] for line in (tmp_path / "test.csv").read_text().splitlines()]
        (tmp_path / "judged.csv").write_text("\n".join(judged) + "\n")
        assert evaluate(run.path, str(tmp_path / "judged.csv")).metrics == pytest.approx(run.metrics["test"], abs=1e-6)

    def test_other_compiled_loss_sees_plain_labels(self, tmp_path):
        model, x, y, logits = self.build(self.data(tmp_path), loss="prob_margin_ranking")
        model.compile("sgd", loss=get_loss("list_mle").get_loss_fn())
        expected = float(get_loss("list_mle").get_loss_fn()(y["label"], logits))
        assert float(model.test_on_batch(x, y, return_dict=True)["loss"]) == pytest.approx(expected, rel=1e-5)

    def test_unused_confidence_column_warns(self, tmp_path, caplog):
        self.build(self.data(tmp_path), loss="softmax_cross_entropy")
        assert "features.confidence: no loss of this config reads it" in caplog.text

    def test_wrong_confidence_columns_are_refused(self, tmp_path):
        with pytest.raises(DataError, match=r"column 'sure': a confidence must be at least 0. Received: -1"):
            self.build(self.data(tmp_path, lambda i: -1 if i == 3 else 1), loss="prob_margin_ranking")
        loaded = load_config(config(tmp_path, features={"confidence": "surely"}))
        with pytest.raises(DataError, match=r"no column 'surely' \(features.confidence\). Did you mean 'sure'"):
            read_queries(loaded, [])
        with pytest.raises(ConfigError, match=r"features.confidnce: "):
            load_config(config(tmp_path, features={"confidnce": "sure"}))
