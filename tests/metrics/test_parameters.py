"""Invalid parameters of metrics, and the gains and discounts by name."""

import numpy as np
import pytest

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.registry import METRICS
from ml4ir_losses.metrics.keras_metric import RankingMetric, get_metric
from ml4ir_losses.ops.gains import DISCOUNTS, GAINS, check_labels_fit_gain, get_gain

from .oracle import CASES, KEYS, keys
from .oracle import DISCOUNTS as DISCOUNT_LOOPS
from .oracle import GAINS as GAIN_LOOPS

ROW = [[1.0, 0.0]]
WRONG = [
    *[(key, {"topn": topn}, "`topn` must be None or a whole") for key in KEYS for topn in (0, -1, 2.5, True, "3")],
    *[(key, {"empty_queries": "skipp"}, "skip") for key in KEYS],
    *[("arp", {"empty_queries": policy}, "no position") for policy in ("zero", "one")],
    *[
        (key, {"relevance_threshold": x}, "must be a number")
        for key in keys(binary=True)
        for x in ("1", None, float("nan"))
    ],
    *[(key, {"denominator": "top"}, "Did you mean 'topn'") for key in ("precision", "map")],
    ("map", {"ties": "togther"}, "Did you mean 'together'"),
    ("mrr", {"relevance_threshold": "higest"}, "Did you mean 'highest'"),
    *[(key, {"gain": "pow2"}, "Unknown gain 'pow2'. Did you mean 'pow2_minus_1'") for key in keys(gains=True)],
    *[(key, {"discount": "log2"}, "Did you mean 'log2_inverse'") for key in keys(gains=True)],
    ("ndcg", {"gain": 3}, "Unknown gain 3. Allowed: identity, pow2_minus_1"),
    ("ndcg", {"discount": None}, "Unknown discount None"),
]


@pytest.mark.parametrize(("key", "params", "message"), WRONG)
def test_invalid_parameter_is_refused_by_metric_and_function(key, params, message):
    for make in (lambda: get_metric(key, **params), lambda: METRICS[key].target(ROW, ROW, **params)):
        with pytest.raises(UserError) as error:
            make()
        assert message in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: get_metric("ndgc"), "Unknown metric 'ndgc'. Did you mean 'ndcg'"),
        (lambda: get_metric("ndcg", top=3), "has no parameter 'top'. Did you mean 'topn'"),
        (lambda: get_metric({"topn": 3}), "given as a key or as {key"),
        (lambda: get_metric("mrr", min_label="0"), "`min_label` must be a number"),
        (lambda: get_metric("mrr", gain="identity"), "'mrr' has no parameter 'gain'"),
        (lambda: RankingMetric("mrr", labels=3), "has no parameter 'labels'"),
    ],
)
def test_invalid_spec_is_refused(make, message):
    with pytest.raises(UserError) as error:
        make()
    assert message in str(error.value)


@pytest.mark.parametrize("key", KEYS)
def test_registry_lists_the_parameters(key):
    known = METRICS[key].parameters
    assert {"topn": None, "empty_queries": "skip"}.items() <= known.items()
    assert not {"labels", "scores", "mask", "item_weight"} & set(known)


def test_gains_and_discounts_equal_their_formulas():
    assert set(GAINS) == set(GAIN_LOOPS)
    assert set(DISCOUNTS) == set(DISCOUNT_LOOPS)
    from keras import ops

    x = np.array([1.0, 2.0, 3.5], "float32")
    for name, loop in GAIN_LOOPS.items():
        got = ops.convert_to_numpy(get_gain(name).function(ops.convert_to_tensor(x)))
        np.testing.assert_allclose(got, [loop(v) for v in x], rtol=1e-6)
    for name, loop in DISCOUNT_LOOPS.items():
        got = ops.convert_to_numpy(DISCOUNTS[name](ops.convert_to_tensor(x)))
        np.testing.assert_allclose(got, [loop(v) for v in x], rtol=1e-6)


@pytest.mark.parametrize("key", KEYS)
def test_registry_knows_which_direction_is_better(key):
    assert METRICS[key].trait("lower_is_better", False) == CASES[key].lower_is_better


def test_label_above_the_limit_of_a_gain_is_refused():
    with pytest.raises(UserError, match=r"'pow2_minus_1' takes labels up to 100. Received: a label of 101;"):
        check_labels_fit_gain(101, "pow2_minus_1")
    for label, gain in ((100, "pow2_minus_1"), (1e6, "identity"), (1e6, lambda y: y)):
        check_labels_fit_gain(label, gain)
    with pytest.raises(UserError, match="Unknown gain"):
        check_labels_fit_gain(1, "pow3")


def test_python_gain_may_declare_a_limit_of_labels():
    def cube(labels):
        return labels**3

    cube.max_label = 10.0
    with pytest.raises(UserError, match="up to 10"):
        check_labels_fit_gain(11, cube)
