"""User-defined lambda weights and weighting schemes; configs and saved models with any of them."""

import functools
import itertools
import json
import math
from dataclasses import dataclass

import keras
import numpy as np
import pytest
from keras import ops

from losses.cases import float32, get_loss, make_batch
from losses.families.common import documents, log_sigmoid
from losses.models import model_and_data
from losses.numeric import values
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.registry import (
    LAMBDA_WEIGHTS,
    WEIGHTING_SCHEMES,
    register_lambda_weight,
    register_weighting_scheme,
)
from ml4ir_losses.losses.factory import WeightedSum
from ml4ir_losses.losses.lambda_weights import (
    LambdaWeight,
    ListMLELambdaWeight,
    NDCGLambdaWeight,
    PListMLELambdaWeight,
    PrecisionLambdaWeight,
    get_lambda_weight,
)
from ml4ir_losses.losses.weighting_schemes import BaseWeightingScheme, NDCGLoss2PPScheme, get_weighting_scheme


@keras.saving.register_keras_serializable("ml4ir_losses_tests")
def cube(labels):
    return labels * labels * labels


@keras.saving.register_keras_serializable("ml4ir_losses_tests")
def half_life(rank):
    return ops.exp2(-0.5 * rank)


def unregistered(rank):
    return 1.0 / rank


@dataclass(frozen=True)
class LabelGap(LambdaWeight):
    """|y_i - y_j| to a power, in the first `last` ranks."""

    power: float = 1.0
    last: int = 100

    def pair_weights(self, labels, ranks, mask):
        within = ops.logical_and(ranks[:, :, None] <= self.last, ranks[:, None, :] <= self.last)
        return ops.where(within, ops.abs(labels[:, :, None] - labels[:, None, :]) ** self.power, 0.0)


@dataclass(frozen=True)
class LabelScheme(BaseWeightingScheme):
    """|y_i - y_j| to a power."""

    power: float = 1.0

    def forward(self, gain, discount, true_sorted):
        return ops.abs(true_sorted[:, :, None] - true_sorted[:, None, :]) ** self.power


@dataclass(frozen=True)
class FirstSteps(LambdaWeight):
    """1 for the first `steps` ranks of the ideal order."""

    family = "position"
    steps: int = 1

    def position_weights(self, ranks, sizes):
        return ops.cast(ops.logical_and(ranks <= sizes, ranks <= self.steps), sizes.dtype)


@pytest.fixture
def third_party():
    """Registers the three classes, and removes them after the test."""
    list(LAMBDA_WEIGHTS), list(WEIGHTING_SCHEMES)
    kept = [names for registry in (LAMBDA_WEIGHTS, WEIGHTING_SCHEMES) for names in (registry._entries, registry._names)]
    before = [dict(names) for names in kept]
    register_lambda_weight("label_gap")(LabelGap)
    register_lambda_weight("first_steps", aliases=("steps",))(FirstSteps)
    register_weighting_scheme("label_scheme")(LabelScheme)
    yield
    for names, old in zip(kept, before, strict=True):
        names.clear()
        names.update(old)
    for cls in (LabelGap, FirstSteps, LabelScheme):
        del cls.key


def weighted_pairs(batch, power, base=1.0):
    """Σ |y_i - y_j|^power·ln(1 + e^-(s_i - s_j)) over the pairs of every query, and the number of pairs."""
    for query in documents(batch.labels, batch.scores, batch.mask, None):
        pairs = [(a, b) for a, b in itertools.permutations(query, 2) if a[0] > b[0]]
        yield math.fsum((a[0] - b[0]) ** power * -log_sigmoid(a[1] - b[1]) / base for a, b in pairs), len(pairs)


def saved_and_loaded(loss, folder):
    """The value of the loss in a model, which must equal that of the saved and loaded model."""
    model, x, batch = model_and_data(loss.key)
    model.compile("sgd", loss=loss.get_loss_fn())
    value = model.evaluate(x, batch.labels, batch_size=7, verbose=0)
    model.save(folder / "model.keras")
    again = keras.saving.load_model(folder / "model.keras")
    assert again.evaluate(x, batch.labels, batch_size=7, verbose=0) == pytest.approx(value, rel=1e-6)
    assert again.loss.get_config() == model.loss.get_config()
    return value


CUSTOM = {  # loss, name of the parameter, key, parameter of the weight
    "pairwise_logistic": ("lambda_weight", "label_gap", LabelGap, {"power": 2.0}),
    "lambda_loss": ("weighting_scheme", "label_scheme", LabelScheme, {"power": 2.0}),
    "list_mle": ("lambda_weight", "first_steps", FirstSteps, {"steps": 2}),
}
each_custom = pytest.mark.parametrize(("key", "name", "spec", "cls", "params"), [(k, *v) for k, v in CUSTOM.items()])


@pytest.mark.usefixtures("third_party")
class TestRegistered:
    @pytest.mark.parametrize("power", [1.0, 2.0])
    @pytest.mark.parametrize("key", ["pairwise_logistic", "lambda_loss"])
    def test_loss_with_a_custom_weight_matches_the_oracle(self, key, power):
        name, spec, cls, _ = CUSTOM[key]
        batch = float32(make_batch(key))
        base = math.log(2) if key == "lambda_loss" else 1.0
        totals = list(weighted_pairs(batch, power, base))
        expected = [total / pairs if pairs else 0.0 for total, pairs in totals]
        for given in ({"key": spec, "power": power}, cls(power=power), *([spec] if power == 1 else [])):
            loss = get_loss({"key": key, "normalization": "query", name: given})
            actual = values(loss.get_loss_fn(reduction="none")(batch.labels, batch.scores))
            np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)

    def test_custom_weight_sees_ranks_by_score(self):
        labels, scores = np.array([[2.0, 0.0, 1.0]]), np.array([[1.0, 2.0, 3.0]])
        loss = get_loss("pairwise_logistic", lambda_weight={"key": "label_gap", "last": 2}, normalization="sum")
        assert values(loss.per_query(labels, scores))[0] == pytest.approx(math.log1p(math.exp(-1)))

    @pytest.mark.parametrize(("spec", "second"), [("steps", 0), ({"key": "first_steps", "steps": 2}, 1)], ids=str)
    def test_custom_position_weights(self, spec, second):
        labels, scores = np.array([[2.0, 0.0, 1.0]]), np.array([[1.0, 2.0, 3.0]])
        expected = math.log(1 + math.e + math.e**2) + second * math.log1p(math.exp(-1))
        assert values(get_loss("list_mle", lambda_weight=spec).per_query(labels, scores))[0] == pytest.approx(expected)

    @each_custom
    def test_config_and_saved_model_round_trip(self, key, name, spec, cls, params, tmp_path):
        loss = get_loss(key, **{name: cls(**params)})
        config = json.loads(json.dumps(loss.get_config()))
        assert params.items() <= config[name].items()
        assert config[name]["key"] == spec
        again = get_loss(config)
        assert again.get_config() == config
        plain = saved_and_loaded(get_loss(key), tmp_path)
        assert saved_and_loaded(loss, tmp_path) != pytest.approx(plain, rel=1e-3)

    @each_custom
    def test_misspelled_name_gets_a_suggestion(self, key, name, spec, cls, params):
        with pytest.raises(UserError, match=f"Did you mean '{spec}'"):
            get_loss(key, **{name: spec[:-1]})
        (parameter,) = params
        with pytest.raises(UserError, match=f"'{spec}' has no parameter '{parameter[:-1]}'.*mean '{parameter}'"):
            get_loss(key, **{name: {"key": spec, parameter[:-1]: 1}})

    def test_unsupported_family_is_refused(self):
        for wrong, key in (("label_gap", "list_mle"), (FirstSteps(), "pairwise_logistic")):
            with pytest.raises(UserError, match=f"`lambda_weight` of '{key}' must be one of"):
                get_loss(key, lambda_weight=wrong)


class TestUnregistered:
    """Unregistered classes and functions work in a loss that is not saved."""

    @pytest.mark.parametrize(
        ("key", "name", "weight", "decorator"),
        [
            ("pairwise_logistic", "lambda_weight", LabelGap(), "register_lambda_weight"),
            ("list_mle", "lambda_weight", FirstSteps(), "register_lambda_weight"),
            ("lambda_loss", "weighting_scheme", LabelScheme(), "register_weighting_scheme"),
            ("pairwise_logistic", "lambda_weight", type("Mine", (NDCGLambdaWeight,), {})(), "register_lambda_weight"),
            ("lambda_loss", "weighting_scheme", type("Mine", (NDCGLoss2PPScheme,), {})(), "register_weighting_scheme"),
        ],
        ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
    )
    def test_unregistered_class_cannot_be_saved(self, key, name, weight, decorator):
        batch = float32(make_batch(key))
        for loss in (get_loss(key, **{name: weight}), WeightedSum([(get_loss(key, **{name: weight}), 1.0)])):
            assert np.isfinite(values(loss.get_loss_fn()(batch.labels, batch.scores)))
            with pytest.raises(UserError, match=f"'{type(weight).__name__}' has no key.*{decorator}"):
                loss.get_config()

    @pytest.mark.parametrize("function", [unregistered, lambda r: 1.0 / r, functools.partial(ops.power, 0.5)])
    @pytest.mark.parametrize("as_mapping", [True, False])
    def test_unregistered_function_cannot_be_saved(self, function, as_mapping):
        spec = {"key": "ndcg", "discount": function}
        loss = get_loss("pairwise_logistic", lambda_weight=spec if as_mapping else get_lambda_weight(spec))
        batch = float32(make_batch("pairwise_logistic"))
        assert np.isfinite(values(loss.get_loss_fn()(batch.labels, batch.scores)))
        with pytest.raises(UserError, match=r"could not find again: decorate it with keras\.saving\.register"):
            loss.get_config()

    def test_missing_function_is_named_when_loading(self):
        config = get_loss("pairwise_logistic", lambda_weight={"key": "ndcg", "gain": cube}).get_config()
        config["lambda_weight"]["gain"] |= {"registered_name": "quart", "config": "quart"}
        for make in (lambda: get_loss(config), lambda: get_lambda_weight(config["lambda_weight"])):
            with pytest.raises(UserError, match="No registered Python function or class 'quart'") as caught:
                make()
            assert "\n" not in str(caught.value)


SPECS = [  # the loss, its parameter, and what it is as an object
    ("pairwise_logistic", "lambda_weight", "ndcg", NDCGLambdaWeight()),
    ("pairwise_logistic", "lambda_weight", {"key": "ndcg", "topn": 3, "gain": cube}, NDCGLambdaWeight(3, gain=cube)),
    ("yeti_logistic", "lambda_weight", {"key": "precision", "topn": 2}, PrecisionLambdaWeight(2)),
    ("softmax_cross_entropy", "lambda_weight", "dcg", get_lambda_weight("dcg")),
    ("list_mle", "lambda_weight", {"key": "list_mle", "discount": half_life}, ListMLELambdaWeight(half_life)),
    ("p_list_mle", "lambda_weight", "p_list_mle", PListMLELambdaWeight()),
    ("lambda_loss", "weighting_scheme", "lambda_rank", get_weighting_scheme("lambda_rank")),
    ("lambda_loss", "weighting_scheme", {"key": "ndcg_loss2pp", "mu": 3.0}, NDCGLoss2PPScheme(3.0)),
]


@pytest.mark.parametrize(("key", "name", "spec", "built"), SPECS, ids=lambda value: str(value)[:20])
class TestConfig:
    """A key, a mapping and an object give the same loss, also after a config or a file."""

    def test_config_round_trip(self, key, name, spec, built):
        batch = make_batch(key)
        rows = []
        for given in (spec, built):
            loss = get_loss(key, **{name: given})
            assert loss.params[name] is given
            again = get_loss(json.loads(json.dumps(loss.get_config())))
            assert again.get_config() == loss.get_config()
            assert repr(get_loss(again.get_config())) == repr(again)
            assert type(loss).from_config(loss.get_config()).get_config() == loss.get_config()
            for one in (loss, again):
                rows.append(values(one.per_query(batch.labels, batch.scores, batch.weight, batch.mask)))
        assert np.abs(rows[0]).max() > 0
        for row in rows[1:]:
            np.testing.assert_array_equal(row, rows[0])

    def test_saved_model_round_trip(self, key, name, spec, built, tmp_path):
        saved_and_loaded(get_loss(key, **{name: spec if isinstance(spec, dict) else built}), tmp_path)
