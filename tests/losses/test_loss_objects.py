"""Seeds, configs and weighted sums of loss objects."""

import json
import math

import keras
import numpy as np
import pytest

from losses.cases import case_of, float32, get_loss, make_batch
from losses.families.listwise import plackett_luce
from losses.models import model_and_data
from losses.numeric import BACKEND, gradient, values
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.losses.base import RelevanceLossBase
from ml4ir_losses.losses.factory import WeightedSum
from ml4ir_losses.losses.keras_loss import RelevanceLoss
from selection import each_variant

LABELS = np.array([[1.0, 0.0], [0.0, 1.0]], dtype="float32")
SCORES = np.array([[1.0, 0.0], [2.0, 0.0]], dtype="float32")


class TestSeeds:
    """All labels tie: every order of the documents is ideal, and the value depends on which is drawn."""

    LABELS, SCORES = np.ones((4, 3), dtype="float32"), np.tile(np.array([0.0, 1.0, 3.0], dtype="float32"), (4, 1))

    def sequence(self, fn, calls=6 if BACKEND != "jax" else 3):  # eager on JAX, and slow
        return [values(fn(self.LABELS, self.SCORES)).tolist() for _ in range(calls)]

    def fn(self, **params):
        return get_loss("list_mle", **params).get_loss_fn(reduction="none")

    def test_values_differ_between_calls_and_repeat_with_the_seed(self):
        first = self.sequence(self.fn(seed=7))
        assert len({tuple(row) for row in first}) > 1
        assert self.sequence(self.fn(seed=7)) == first
        assert self.sequence(self.fn(seed=8)) != first

    def test_draws_permute_tied_labels(self):
        orders = {
            round(plackett_luce([0.0 + x for x in order]), 4)
            for order in [(0, 1, 3), (0, 3, 1), (1, 0, 3), (1, 3, 0), (3, 0, 1), (3, 1, 0)]
        }
        drawn = {round(value, 4) for row in self.sequence(self.fn(seed=1), 20) for value in row}
        assert len(orders) == len(drawn) == 6
        np.testing.assert_allclose(sorted(drawn), sorted(orders), atol=2e-4)

    def test_ties_keep_their_order_without_a_seed(self):
        (row,) = {tuple(row) for row in self.sequence(self.fn())}
        np.testing.assert_allclose(row, [plackett_luce([0.0, 1.0, 3.0])] * 4, rtol=1e-6)

    def test_distinct_labels_do_not_depend_on_the_seed(self):
        batch = float32(make_batch("list_mle", ties=False))
        for _ in range(3):
            actual = values(self.fn(seed=3)(batch.labels, batch.scores))
            np.testing.assert_allclose(actual, values(self.fn()(batch.labels, batch.scores)), rtol=1e-6)

    def test_seeded_member_makes_a_weighted_sum_random(self):
        fn = get_loss({"list_mle": 1.0}).get_loss_fn()
        assert fn.seed_generator is None
        fn = WeightedSum([("softmax_cross_entropy", 1.0), ({"key": "list_mle", "seed": 7}, 1.0)])
        assert len({tuple(row) for row in self.sequence(fn.get_loss_fn(reduction="none"))}) > 1

    def test_saved_config_keeps_the_seed(self):
        fn = self.fn(seed=7)
        assert isinstance(fn.seed_generator, keras.random.SeedGenerator)
        assert fn.get_config()["loss"]["seed"] == 7
        self.sequence(fn, 3)
        assert self.sequence(RelevanceLoss.from_config(fn.get_config())) == self.sequence(self.fn(seed=7))

    @pytest.mark.parametrize("seed", [-1, 1.5, True, "1"])
    def test_wrong_seed_is_refused(self, seed):
        with pytest.raises(UserError, match="seed"):
            get_loss("list_mle", seed=seed)

    def test_every_step_of_fit_draws_new_values(self, tmp_path):
        """On JAX because the model tracks the generator."""
        model, x, _ = model_and_data("list_mle", rows=4, size=3)
        fn = get_loss("list_mle", seed=7).get_loss_fn()
        model.loss_seed = fn.seed_generator
        model.compile(keras.optimizers.SGD(0.0), loss=fn)
        losses = model.fit(x, self.LABELS, batch_size=4, epochs=6, shuffle=False, verbose=0).history["loss"]
        assert len(set(losses)) > 1
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        assert again.loss.get_config() == fn.get_config()


class TestConfig:
    @each_variant()
    def test_config_round_trip(self, key, params):
        loss = get_loss(key, **params)
        config = json.loads(json.dumps(loss.get_config()))
        again = get_loss(config)
        assert type(again) is type(loss)
        assert again.get_config() == loss.get_config() == type(loss).from_config(config).get_config()
        fn = loss.get_loss_fn(reduction="sum", name="mine", propensity=[0.5])
        batch = float32(make_batch(key))
        assert fn.name == "mine"
        copy = keras.losses.deserialize(json.loads(json.dumps(keras.losses.serialize(fn))))
        assert copy.get_config() == fn.get_config()
        if params == case_of(key).variants[0]:
            assert values(copy(batch.labels, batch.scores)) == values(fn(batch.labels, batch.scores))
        assert repr(loss) == repr(again)

    def test_positional_arguments_are_those_of_ml4ir(self):
        for key in ("softmax_cross_entropy", "pairwise_logistic"):
            cls = type(get_loss(key))
            loss = cls("listwise", "groupwise")
            assert (loss.loss_key, loss.scoring_type) == ("listwise", "groupwise")
            assert cls(loss_key="listwise").loss_key == "listwise"
            with pytest.raises(UserError, match="2 positional"):
                cls("a", "b", "c")
        with pytest.raises(UserError, match="0 positional"):
            type(get_loss("categorical_cross_entropy"))("a")

    def test_subclass_may_change_defaults(self):
        class Sharp(type(get_loss("list_mle"))):
            defaults = {"temperature": 0.1}

        assert Sharp().params["temperature"] == 0.1
        assert values(Sharp().per_query(LABELS, SCORES))[0] == pytest.approx(math.log1p(math.exp(-10)), rel=1e-2)


class TestWeightedSum:
    MEMBERS = {"softmax_cross_entropy": 0.9, "sigmoid_cross_entropy": 0.5}

    def test_value_and_gradient_are_the_weighted_sums(self):
        batch = float32(make_batch("softmax_cross_entropy"))
        fn = get_loss(self.MEMBERS).get_loss_fn()
        members = [(get_loss(key).get_loss_fn(), weight) for key, weight in self.MEMBERS.items()]
        for sample_weight in (None, np.arange(7.0), batch.weight):
            expected = sum(w * values(f(batch.labels, batch.scores, sample_weight)) for f, w in members)
            assert values(fn(batch.labels, batch.scores, sample_weight)) == pytest.approx(expected, rel=1e-5)
        slopes = sum(w * gradient(lambda s, f=f: f(batch.labels, s), batch.scores) for f, w in members)
        np.testing.assert_allclose(gradient(lambda s: fn(batch.labels, s), batch.scores), slopes, atol=1e-6)

    def test_type_and_activation_come_from_the_first_member(self):
        loss = get_loss(self.MEMBERS)
        assert (loss.loss_type, loss.activation, loss.key) == ("listwise", "softmax", "weighted_sum")
        assert loss.invertible

    def test_config_and_saved_model_round_trip(self, tmp_path):
        loss = WeightedSum([({"key": "list_mle", "temperature": 0.5}, 1), (get_loss("pairwise_logistic"), 2)])
        nested = WeightedSum([(loss, 0.5), ("softmax_cross_entropy", 1.0)])
        for original in (loss, nested):
            again = get_loss(json.loads(json.dumps(original.get_config())))
            assert again.get_config() == original.get_config()
            assert (
                values(again.per_query(LABELS, SCORES)).tolist() == values(original.per_query(LABELS, SCORES)).tolist()
            )
        model, x, batch = model_and_data("list_mle")
        model.compile("sgd", loss=nested.get_loss_fn())
        loss_value = model.evaluate(x, batch.labels, batch_size=7, verbose=0)
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        assert again.evaluate(x, batch.labels, batch_size=7, verbose=0) == pytest.approx(loss_value, rel=1e-5)

    def test_losses_without_a_limit_follow_the_others(self):
        """-1 is padding for the softmax loss, and then for the squared error too; alone it is a label."""
        labels, scores = np.array([[1.0, 0.0, -1.0]]), np.array([[0.5, 0.25, 9.0]])
        alone = get_loss({"mean_squared_error": 1.0, "pairwise_mse": 1.0})
        mixed = get_loss({"mean_squared_error": 1.0, "softmax_cross_entropy": 0.0})
        assert (alone.min_label, mixed.min_label) == (None, 0.0)
        assert values(mixed.per_query(labels, scores))[0] == pytest.approx((0.25 + 0.0625) / 2)
        assert values(alone.per_query(labels, scores))[0] > 30

    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ({}, "at least one"),
            ({"key": "weighted_sum", "losses": [["list_mle", 1], [{"key": "listnet", "min_label": -1.0}, 1]]}, "same"),
            ({"list_mle": -1.0}, "weight of loss 'list_mle'"),
            ({"list_mle": float("nan")}, "weight of loss"),
            ({"list_mle": True}, "weight of loss"),
            ({"list_mel": 1.0}, "Did you mean 'list_mle'"),
            ({"key": "weighted_sum"}, "losses"),
            ({"key": "weighted_sum", "losses": [["list_mle", 1.0]], "k": 1}, "no parameter 'k'"),
            ({"temperature": "high"}, "key"),
        ],
        ids=str,
    )
    def test_wrong_members_are_refused(self, spec, message):
        with pytest.raises(UserError, match=message):
            get_loss(spec)

    def test_built_loss_takes_no_parameters(self):
        loss = get_loss("list_mle")
        assert get_loss(loss) is loss
        assert isinstance(loss, RelevanceLossBase)
        with pytest.raises(UserError, match="temperature"):
            get_loss(loss, temperature=2.0)
