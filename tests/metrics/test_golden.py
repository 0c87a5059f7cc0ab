"""Values and weights of TF-Ranking 0.5.5 (`tests/golden/tfr_metrics.json`)."""

import json
from pathlib import Path

import numpy as np
import pytest
from keras import ops

from ml4ir_losses.core.registry import METRICS
from ml4ir_losses.metrics.keras_metric import get_metric

from .oracle import valid

CASES = {
    case["id"]: case
    for case in json.loads((Path(__file__).parents[1] / "golden" / "tfr_metrics.json").read_text(encoding="utf-8"))
}
FUNCTIONS = {"half": lambda x: x / 2, "inverse_plus_10": lambda r: 1 / (r + 10)}
RENAMED = {"gain_fn": "gain", "rank_discount_fn": "discount"}
MICRO_AVERAGES = ("arp", "ordered_pair_accuracy")  # skip queries without relevance in TF-Ranking too


def _ids(text):
    """`"163 723-724"` → {"tfr-0163", "tfr-0723", "tfr-0724"}."""
    spans = [[int(n) for n in part.split("-")] for part in text.split()]
    return {f"tfr-{n:04d}" for span in spans for n in range(span[0], span[-1] + 1)}


# Not compared: a list that is all padding counts as 0 in TF-Ranking, and never counts here.
# Nor is a document of which some subtopics are padding: TF-Ranking counts the label -1, here it counts as 0.
LEFT_OUT = {"tfr-0841", "tfr-0842"}
# Compared with TF-Ranking's weight of a query without relevance, which is the mean over the other queries of its batch
# (1 if there is none); here it is the mean over the documents of the query.
BATCH_WEIGHT = _ids(
    "88 163 179 187 200 379 391 411 424 437 448 463 504 516 723-724 726-727 729-730 732-733 735-736 738-739 741-742 "
    "744-745 747-748 750-751 753-754 756-757 759-760 762-763 765-766 768-769 771-772 774-775 777-778 780-781 786-787 "
    "789-790 792-793 795-796 798-799 801-802 804-805 807-808 817 820 823 826"
)
# Compared with the weights [N] broadcast to [B, N], as in TF-Ranking; here [N] is an error.
BROADCAST = _ids("81-82 87 134 156 157 162")


def id_of(case_id):
    """The id with the key of the metric, so that `pytest -k KEY` selects the case."""
    return f"{case_id}-{CASES[case_id]['loss_key']}"


def _dense(rows):
    width = max(len(row) for row in rows)
    padding = np.full_like(rows[0][0], -1.0, dtype="float32") if width else None
    return np.array([[*row, *[padding] * (width - len(row))] for row in rows], "float32")


def _inputs(case):
    labels, scores = _dense(case["y_true"]), _dense(case["y_pred"])
    weight = case.get("sample_weight")
    if weight is not None:
        weight = _dense(weight) if isinstance(weight[0], list) else np.array(weight, "float32")
        if case["id"] in BROADCAST:
            weight = np.broadcast_to(weight, scores.shape)
    params = {RENAMED.get(name, name): value for name, value in case["params"].items() if name != "ragged"}
    params = {name: FUNCTIONS.get(value, value) if isinstance(value, str) else value for name, value in params.items()}
    return labels, scores, weight, params


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


def _agrees(case, got):
    expected = np.array(case["expected"])
    tolerance = np.maximum(1e-5 * np.maximum(1.0, np.abs(expected)), case["tol"])
    return got.shape == expected.shape and bool((np.abs(got - expected) <= tolerance).all())


@pytest.mark.slow_on("jax")
@pytest.mark.parametrize("case_id", sorted(set(CASES) - LEFT_OUT - BATCH_WEIGHT), ids=id_of)
def test_golden_value(case_id):
    case = CASES[case_id]
    got = _computed(case)
    assert _agrees(case, got), (case, got)


@pytest.mark.slow_on("jax")
@pytest.mark.parametrize("case_id", sorted(BATCH_WEIGHT), ids=id_of)
def test_golden_value_with_tf_rankings_weights(case_id):
    case = CASES[case_id]
    got = _with_batch_weights(case)
    assert _agrees(case, got), (case, got)


@pytest.mark.slow_on("jax")
@pytest.mark.parametrize("case_id", sorted(BATCH_WEIGHT | LEFT_OUT), ids=id_of)
def test_exceptions_differ_from_tf_ranking(case_id):
    assert not _agrees(CASES[case_id], _computed(CASES[case_id]))


def test_the_golden_file_covers_every_metric():
    assert {case["loss_key"] for case in CASES.values()} == {entry.key for entry in METRICS}
    assert len(CASES) == 437
