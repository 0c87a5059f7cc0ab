"""Values and weights of the metrics against those of TF-Ranking 0.5.5."""

import numpy as np
import pytest
from keras import ops

from ml4ir_losses.core.registry import METRICS
from ml4ir_losses.metrics.keras_metric import get_metric

from .golden import BATCH_WEIGHT, CASES, LEFT_OUT, agrees, id_of, inputs
from .oracle import valid

RENAMED = {"gain_fn": "gain", "rank_discount_fn": "discount"}
MICRO_AVERAGES = ("arp", "ordered_pair_accuracy")  # skip queries without relevance in TF-Ranking too


def _inputs(case):
    *data, params = inputs(case)
    return *data, {RENAMED.get(name, name): value for name, value in params.items()}


def _per_query(case, policy):
    labels, scores, weight, params = _inputs(case)
    mask = np.array(case["mask"]) if "mask" in case else valid(labels)
    weight = None if weight is None else np.broadcast_to(weight, scores.shape)
    function = METRICS[case["loss_key"]].target
    values, weights = function(labels, scores, mask, item_weight=weight, empty_queries=policy, **params)
    return ops.convert_to_numpy(values).astype("float64"), ops.convert_to_numpy(weights).astype("float64")


def _policy(case):
    return "skip" if case["loss_key"] in MICRO_AVERAGES else "zero"


def _computed(case):
    if case["kind"] == "metric_per_list":
        return _per_query(case, _policy(case))[case["output"] == "weights"][:, None]
    labels, scores, weight, params = _inputs(case)
    metric = get_metric(case["loss_key"], empty_queries=_policy(case), **params)
    metric.update_state(labels, scores, weight)
    return np.asarray(ops.convert_to_numpy(metric.result()))


def _with_batch_weights(case):
    """Our values and weights, but TF-Ranking's weights of queries without relevance."""
    values, counted = _per_query(case, "skip")
    _, all_weights = _per_query(case, "zero")
    others = counted[counted > 0]
    empty = (counted == 0) & (all_weights > 0)
    weights = np.where(empty, others.mean() if len(others) else 1.0, counted)
    if case["kind"] == "metric_per_list":
        return (weights if case["output"] == "weights" else values)[:, None]
    return (values * weights).sum() / weights.sum()


@pytest.mark.slow_on("jax")
@pytest.mark.parametrize("case_id", sorted(set(CASES) - LEFT_OUT - BATCH_WEIGHT), ids=id_of)
def test_golden_value(case_id):
    case = CASES[case_id]
    got = _computed(case)
    assert agrees(case, got), (case, got)


@pytest.mark.slow_on("jax")
@pytest.mark.parametrize("case_id", sorted(BATCH_WEIGHT), ids=id_of)
def test_golden_value_with_tf_rankings_weights(case_id):
    case = CASES[case_id]
    got = _with_batch_weights(case)
    assert agrees(case, got), (case, got)


@pytest.mark.slow_on("jax")
@pytest.mark.parametrize("case_id", sorted(BATCH_WEIGHT | LEFT_OUT), ids=id_of)
def test_exceptions_differ_from_tf_ranking(case_id):
    assert not agrees(CASES[case_id], _computed(CASES[case_id]))


def test_the_golden_file_covers_every_metric_that_tf_ranking_has():
    assert {case["loss_key"] for case in CASES.values()} == {entry.key for entry in METRICS} - {"err", "rbp", "auc"}
    assert len(CASES) == 437
