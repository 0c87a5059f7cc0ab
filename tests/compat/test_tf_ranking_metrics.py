"""TF-Ranking's metrics by its class names: its golden numbers, default names and configs."""

import json

import keras
import numpy as np
import pytest

from metrics.golden import BATCH_WEIGHT, BROADCAST, CASES, LEFT_OUT, agrees, id_of, inputs
from ml4ir_losses.compat import tf_ranking as tfr
from selection import slow_except

GOLDEN = [key for key, case in CASES.items() if case["kind"] == "metric"]
GOLDEN = sorted(set(GOLDEN) - BATCH_WEIGHT - LEFT_OUT - BROADCAST)
PER_QUERY = [  # metrics of the v1 API, which has no Keras classes
    key
    for key, case in CASES.items()
    if case["class"] in ("BPrefMetric", "PWAMetric")
    and case["output"] == "metric"
    and not {"sample_weight", "mask"} & set(case)
]
NAMES = {
    "ARPMetric": "arp_metric",
    "AlphaDCGMetric": "alpha_dcg_metric",
    "DCGMetric": "dcg_metric",
    "HitsMetric": "hits_metric",
    "MRRMetric": "mrr_metric",
    "MeanAveragePrecisionMetric": "mean_average_precision_metric",
    "NDCGMetric": "ndcg_metric",
    "OPAMetric": "opa_metric",
    "PrecisionIAMetric": "precision_ia_metric",
    "PrecisionMetric": "precision_metric",
    "RecallMetric": "recall_metric",
    "BPrefMetric": "b_pref_metric",
    "PWAMetric": "pwa_metric",
}


def result(case):
    labels, scores, weight, params = inputs(case)
    metric = getattr(tfr, case["class"])("golden", **params)
    metric.update_state(labels, scores, weight)
    return keras.ops.convert_to_numpy(metric.result())


@pytest.mark.slow_on("jax")
@pytest.mark.parametrize("case_id", slow_except(GOLDEN, *GOLDEN[::4]), ids=id_of)
def test_golden_value(case_id):
    assert agrees(CASES[case_id], result(CASES[case_id]))


@pytest.mark.slow_on("jax")
@pytest.mark.parametrize("case_id", PER_QUERY, ids=id_of)
def test_mean_of_golden_values_of_v1(case_id):
    case = CASES[case_id]
    assert result(case) == pytest.approx(np.mean(case["expected"]), abs=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_default_names_are_those_of_tf_ranking(name):
    keras.backend.clear_session()
    metrics = [getattr(tfr, name)() for _ in range(2)]
    numbered = NAMES[name] if name == "AlphaDCGMetric" else f"{NAMES[name]}_1"
    assert [metric.name for metric in metrics] == [NAMES[name], numbered]


@pytest.mark.parametrize("name", NAMES)
def test_config_round_trip_keeps_the_name(name):
    metric = getattr(tfr, name)()
    copy = keras.saving.deserialize_keras_object(json.loads(json.dumps(keras.saving.serialize_keras_object(metric))))
    assert (type(copy), copy.name, copy.get_config()) == (type(metric), metric.name, metric.get_config())
    assert repr(metric) == f"{name}()"


def test_seed_of_alpha_dcg_has_no_effect():
    labels, scores = np.array([[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]]), np.zeros((1, 3))
    metrics = [tfr.AlphaDCGMetric(seed=seed, alpha=0.2) for seed in (None, 1, 2)]
    for metric in metrics:
        metric.update_state(labels, scores)
    assert len({float(metric.result()) for metric in metrics}) == 1


def test_equal_scores_are_wrong_in_opa_and_half_right_where_that_is_asked_for():
    for metric, expected in ((tfr.OPAMetric(), 0.0), (tfr.OPAMetric(ties="average"), 0.5)):
        metric.update_state(np.array([[1.0, 0.0]]), np.array([[2.0, 2.0]]))
        assert float(metric.result()) == expected


def test_equal_scores_have_the_mean_of_tf_rankings_random_orders():
    metric = tfr.MRRMetric()
    metric.update_state(np.array([[1.0, 0.0, 0.0]]), np.zeros((1, 3)))
    assert float(metric.result()) == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
