"""The registry: keys, aliases, errors that help, third parties, and imports that do not wait for a backend."""

import doctest
import importlib
import inspect
import subprocess
import sys
from typing import Annotated

import numpy as np
import pytest
from annotated_types import Lt

from losses.cases import CASES, KEYS, float32, get_loss, make_batch
from losses.numeric import values
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import ops
from ml4ir_losses.core.registry import LOSSES, Registry, register_loss
from ml4ir_losses.keys import LossKey
from ml4ir_losses.losses.base import ListwiseLossBase, PointwiseLossBase
from selection import each_loss

ALIASES = {
    "sigmoid_cross_entropy_loss": "sigmoid_cross_entropy",
    "binary_cross_entropy_loss": "binary_cross_entropy",
    "mean_squared_loss": "mean_squared_error",
    "mse": "mean_squared_error",
    "pointwise_rmse": "root_mean_squared_error",
    "ordinal_loss": "ordinal",
    "click_em_loss": "click_em",
    "mixture_em_loss": "mixture_em",
    "cross_entropy_loss": "categorical_cross_entropy",
    "pairwise_logistic_loss": "pairwise_logistic",
    "bpr": "pairwise_logistic",
    "ranknet_loss": "ranknet",
    "pairwise_hinge_loss": "pairwise_hinge",
    "pairwise_soft_zero_one_loss": "pairwise_soft_zero_one",
    "pairwise_mse_loss": "pairwise_mse",
    "pairwise_qr_loss": "pairwise_quantile",
    "yeti_logistic_loss": "yeti_logistic",
    "circle_loss": "circle",
    "margin_mse_loss": "margin_mse",
    "softmax_loss": "softmax_cross_entropy",
    "list_net": "listnet",
    "calibrated_softmax_loss": "calibrated_softmax",
    "unique_softmax_loss": "unique_softmax",
    "poly_one_softmax_loss": "poly1_softmax",
    "list_mle_loss": "list_mle",
    "approx_ndcg_loss": "approx_ndcg",
    "approx_mrr_loss": "approx_mrr",
    "gumbel_approx_ndcg_loss": "gumbel_approx_ndcg",
    "neural_sort_cross_entropy_loss": "neural_sort_cross_entropy",
    "neural_sort_ndcg_loss": "neural_sort_ndcg",
    "gumbel_neural_sort_cross_entropy_loss": "gumbel_neural_sort_cross_entropy",
    "gumbel_neural_sort_ndcg_loss": "gumbel_neural_sort_ndcg",
    "coupled_rankdistil_loss": "coupled_rank_distil",
}
TYPES = {"pointwise", "pairwise", "listwise", "classification", "embedding"}


class TestKeys:
    def test_every_key_is_tested(self):
        assert set(KEYS) == set(CASES)

    def test_key_enum_matches_the_registry(self):
        assert {str(key) for key in LossKey} == set(KEYS)
        assert all(key.name == key.value.upper() for key in LossKey)
        assert get_loss(LossKey.LIST_MLE).key == "list_mle"

    @pytest.mark.parametrize(("alias", "key"), ALIASES.items())
    def test_aliases_name_the_same_loss(self, alias, key):
        assert get_loss(alias).key == key
        assert alias in LOSSES

    def test_every_alias_is_tested(self):
        known = {alias for entry in LOSSES for alias in entry.aliases if entry.key in KEYS}
        assert known == set(ALIASES)

    @each_loss(elsewhere="key")
    def test_entry_describes_the_loss(self, key):
        entry = LOSSES[key]
        loss = get_loss(key)
        assert loss.key == entry.key == key
        assert entry.loss_type == loss.loss_type in TYPES
        assert set(entry.parameters) == set(loss.params)
        assert {"loss_key", "scoring_type"}.isdisjoint(entry.parameters)

    @each_loss(elsewhere="key")
    def test_docstring_describes_every_parameter(self, key):
        entry = LOSSES[key]
        assert entry.summary.endswith(".")
        assert len(entry.summary) < 120
        documented = [name for name in entry.parameters if f"\n    {name}: " in entry.doc]
        assert (
            sorted(set(entry.parameters) - set(documented) - {"min_label", "mini_batch_size"}) == []
        )  # of the base class
        assert "$$" in entry.doc
        assert "\nSource: " in entry.doc


class TestErrors:
    @pytest.mark.parametrize(
        ("key", "nearest"),
        [
            *[("list_mel", "list_mle"), ("softmax_cross_entropi", "softmax_cross_entropy"), ("list-mle", "list_mle")],
            *[("softmax", "softmax_cross_entropy"), ("hinge", "pairwise_hinge"), ("BCE", "binary_cross_entropy")],
            *[("mnr", "multiple_negatives_ranking")],
        ],
    )
    def test_unknown_key_gets_a_suggestion(self, key, nearest):
        with pytest.raises(UserError, match=f"Unknown loss '{key}'. Did you mean '{nearest}'") as caught:
            get_loss(key)
        assert "pairwise_logistic" in str(caught.value)  # what is allowed

    @pytest.mark.parametrize(
        "spec", [None, 3, ["list_mle"], {"key": ["list_mle"]}, {"key": None}, {"keys": "list_mle"}], ids=str
    )
    def test_spec_without_key_is_refused(self, spec):
        with pytest.raises(UserError, match="loss"):
            get_loss(spec)

    @each_loss(elsewhere="key")
    def test_unknown_parameter_gets_a_suggestion(self, key):
        for make in (lambda: get_loss(key, temprature=1.0), lambda: type(get_loss(key))(temprature=1.0)):
            with pytest.raises(UserError, match=f"'{key}' has no parameter 'temprature'") as caught:
                make()
            for name in get_loss(key).params:
                assert name in str(caught.value)
        if "temperature" in get_loss(key).params:
            assert "Did you mean 'temperature'?" in str(caught.value)

    @pytest.mark.parametrize(
        ("key", "name", "wrong"),
        [
            ("list_mle", "temperature", [0, -1.0, float("nan"), float("inf"), "1", None, True]),
            ("list_mle", "respect_input_order", [1, None, "yes"]),
            ("list_mle", "activation_fn", ["relu7", 3]),
            ("list_mle", "min_label", ["0", float("nan"), True]),
            ("softmax_cross_entropy", "normalize_labels", [0, "true"]),
            ("pairwise_logistic", "normalization", ["mean", None, 1]),
            ("sigmoid_cross_entropy", "pos_weight", [-1, "2"]),
            ("categorical_cross_entropy", "label_smoothing", [-0.1, 1.0, True, None]),
            ("categorical_cross_entropy", "class_weight", [[-1.0], 0.5, "ab", [None]]),
            ("categorical_cross_entropy", "ignore_index", [1.5, "1", True]),
        ],
    )
    def test_wrong_value_is_refused(self, key, name, wrong):
        for value in wrong:
            with pytest.raises(UserError, match=f"`{name}`") as caught:
                get_loss(key, **{name: value})
            assert repr(value) in str(caught.value)


class TestMapping:
    def test_parameters_may_stand_beside_the_key(self):
        assert get_loss({"key": "list_mle", "temperature": 0.5}).params["temperature"] == 0.5
        assert get_loss({"key": "list_mle", "temperature": 0.5}, temperature=2.0).params["temperature"] == 2.0


@pytest.fixture
def third_party():
    """Forgets what a test registers."""
    list(LOSSES)
    entries, names = dict(LOSSES._entries), dict(LOSSES._names)
    yield
    for kept, before in ((LOSSES._entries, entries), (LOSSES._names, names)):
        kept.clear()
        kept.update(before)


def squared(labels, scores, mask, *, item_weight=None, scale: float = 1.0):
    """Sum of squared errors."""
    error = ops.where(mask, scores - labels, 0.0)
    return scale * ops.sum(error * error, axis=-1)


class TestThirdParties:
    def test_registered_loss_works_by_key(self, third_party):
        @register_loss("my_squared", aliases=("ms",))
        class Squared(PointwiseLossBase):
            """Squares."""

            function = staticmethod(squared)

        batch = float32(make_batch("list_mle"))
        expected = 3 * np.sum(np.where(batch.mask, batch.scores - batch.labels, 0) ** 2) / 7
        for spec in ({"key": "my_squared", "scale": 3.0}, {"key": "ms", "scale": 3.0}):
            loss = get_loss(spec)
            assert isinstance(loss, Squared)
            assert values(loss.get_loss_fn()(batch.labels, batch.scores)) == pytest.approx(expected, rel=1e-5)
            assert get_loss(loss.get_config()).params == loss.params
        mixed = get_loss({"my_squared": 3.0, "list_mle": 0.0})
        assert values(mixed.get_loss_fn()(batch.labels, batch.scores)) == pytest.approx(expected, rel=1e-5)
        with pytest.raises(UserError, match="Did you mean 'scale'"):
            get_loss("my_squared", scal=1)
        with pytest.raises(UserError, match="Did you mean 'my_squared'"):
            get_loss("my_squard")

    def test_parameter_rules_come_from_annotations(self, third_party):
        def scaled(
            labels,
            scores,
            mask,
            *,
            item_weight=None,
            beta: Annotated[float, Lt(0)] = -1.0,
            margin: int = -2,
            alpha=-1.0,
        ):
            return ops.sum(beta * scores, axis=-1)

        @register_loss("below_zero")
        class BelowZero(PointwiseLossBase):
            function = staticmethod(scaled)

        assert get_loss("below_zero").params.items() >= {"beta": -1.0, "margin": -2, "alpha": -1.0}.items()
        assert get_loss("below_zero", beta=-3, margin=-5, alpha="anything").params["alpha"] == "anything"
        with pytest.raises(UserError, match=r"`beta` must be a number below 0. Received: beta=50.0."):
            get_loss("below_zero", beta=50.0)
        with pytest.raises(UserError, match=r"`margin` must be a whole number. Received: margin=0.5."):
            get_loss("below_zero", margin=0.5)

    @pytest.mark.parametrize(
        ("key", "aliases"), [("list_mle", ()), ("bpr", ()), ("fresh", ("list_mle",)), ("fresh", ("bpr",))]
    )
    def test_taken_name_is_refused(self, key, aliases, third_party):
        before = dict(LOSSES._names)
        with pytest.raises(UserError, match="already taken"):

            @register_loss(key, aliases=aliases)
            class Clash(ListwiseLossBase):
                function = staticmethod(squared)

        assert LOSSES._names == before  # not half registered
        with pytest.raises(UserError, match="Unknown loss"):
            get_loss("fresh")

    def test_module_imported_again_replaces_its_classes(self, third_party):
        module = importlib.import_module("ml4ir_losses.losses.pointwise.single_logit")
        again = importlib.util.module_from_spec(module.__spec__)
        module.__spec__.loader.exec_module(again)
        assert again.SigmoidCrossEntropy is not module.SigmoidCrossEntropy
        assert type(get_loss("sigmoid_cross_entropy")) is again.SigmoidCrossEntropy

    def test_required_parameters_are_reported_if_missing(self):
        registry = Registry("thing", ())

        @registry.register("needs")
        def needs(size: int, *, depth: int = 2, **rest: int) -> tuple:
            """Makes a thing."""
            return size, depth, rest

        assert registry.create({"key": "needs", "size": 1, "extra": 3}) == (1, 2, {"extra": 3})
        assert registry["needs"].parameters == {"size": inspect.Parameter.empty, "depth": 2}
        with pytest.raises(UserError, match="needs the parameter 'size'"):
            registry.create("needs")


LAZY = """
import sys
from inspect import Parameter
import ml4ir_losses.losses.classification.categorical_cross_entropy, ml4ir_losses.losses.listwise.softmax
import ml4ir_losses.losses.pairwise.score_differences, ml4ir_losses.losses.pointwise.single_logit
import ml4ir_losses.losses.propensity, ml4ir_losses.losses.serialization
from ml4ir_losses.losses.factory import WeightedSum, get_loss
from ml4ir_losses.core.registry import LOSSES
for entry in LOSSES:
    required = [name for name, default in entry.parameters.items() if default is Parameter.empty]
    loss = get_loss(entry.key, **{name: {"loss": "sup_con", "dims": [2]}.get(name, 2) for name in required})
    repr(loss), loss.get_config(), entry.parameters, entry.summary
try:
    get_loss("list_mle", temperature=-1)
except ValueError:
    pass
heavy = {"tensorflow", "keras", "jax", "torch"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
loss.get_loss_fn()
assert "keras" in sys.modules
"""


def test_registry_imports_no_backend():
    done = subprocess.run([sys.executable, "-c", LAZY], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


def test_doctests_of_the_base_class():
    result = doctest.testmod(importlib.import_module("ml4ir_losses.losses.base"), optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0
