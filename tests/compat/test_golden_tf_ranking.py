"""Numbers of TF-Ranking 0.5.5, reached through `compat.tf_ranking`."""

import numpy as np
import pytest

from compat.golden import NOT_OBSERVABLE, REPAIRED, id_of, load, near, near_or_repaired, rectangle
from losses.numeric import values
from ml4ir_losses.compat import tf_ranking

CASES = load("tfr_losses.json")
FUNCTIONS = {
    "pow2_3_minus_rank_minus_1": lambda rank: 2.0 ** (3.0 - rank) - 1.0,
    "ge_1": tf_ranking.is_greater_equal_1,
}
PAIRWISE = ("pairwise_hinge_loss", "pairwise_logistic_loss", "pairwise_soft_zero_one_loss", "pairwise_mse_loss")
POINTWISE = ("sigmoid_cross_entropy_loss", "mean_squared_loss", "ordinal_loss", "click_em_loss")
PER_PLACE = (*PAIRWISE, *POINTWISE)
SOFTMAX = ("softmax_loss", "calibrated_softmax_loss", "poly_one_softmax_loss")
RELEVANT_LISTS = (*SOFTMAX, "approx_ndcg_loss", "approx_mrr_loss", "mixture_em_loss", "neural_sort_cross_entropy_loss")
RELEVANT_LISTS = (*RELEVANT_LISTS, "neural_sort_ndcg_loss")  # a list without relevance has the weight 0
WITHOUT_TEMPERATURE = ("sigmoid_cross_entropy_loss", "ordinal_loss", "click_em_loss", "multi_class_loss")
GARBAGE = 1e4  # of scores and weights at padding


def known(case):
    """True unless the number depends on TensorFlow's random numbers."""
    return ("acceptable" in case or not case.get("stochastic")) and case["id"] not in NOT_OBSERVABLE


def of_kind(*kinds):
    cases = [case for case in CASES if case["kind"] in kinds and known(case)]
    return pytest.mark.parametrize("case", cases, ids=id_of)


def lambda_weight(spec):
    params = {name: FUNCTIONS.get(value, value) for name, value in spec.items() if name != "class"}
    return getattr(tf_ranking, spec["class"])(**params)


def parameters(case):
    params = {name: value for name, value in case["params"].items() if name != "ragged"}
    if "lambda_weight" in params:
        params["lambda_weight"] = lambda_weight(params["lambda_weight"])
    if case["loss_key"] in WITHOUT_TEMPERATURE:
        params.pop("temperature", None)
    return params


def lambda_factor(case, size):
    """TF-Ranking multiplies the lambda weights of pairs by the padded length of the list."""
    spec = case["params"].get("lambda_weight", {"class": "LabelDiffLambdaWeight"})
    if case["loss_key"] not in PAIRWISE or spec["class"] in ("LabelDiffLambdaWeight", "PrecisionLambdaWeight"):
        return 1.0
    return float(size)


def inputs(case):
    labels = rectangle(case["y_true"], -1.0)
    if "mask" in case:
        labels = np.where(np.array(case["mask"]), labels, -1.0)
    scores = rectangle(case["y_pred"], GARBAGE)
    weight = case.get("sample_weight")
    if weight is not None:
        weight = rectangle(weight, GARBAGE) if isinstance(weight[0], list) else np.array(weight, dtype="float32")
    if case["loss_key"] == "mixture_em_loss" and weight is not None and weight.shape == labels.shape:
        gain = np.maximum(labels, 0.0)  # theirs weighs lists, by this mean; ours weighs documents
        weight = (weight * gain).sum(axis=1, keepdims=True) / gain.sum(axis=1, keepdims=True)
    return labels, scores, weight


def item_weights(labels, weight):
    return None if weight is None else np.broadcast_to(weight, labels.shape).astype("float32")


def compute(case, labels, scores, weight, **changes):
    loss_fn = tf_ranking.get(case["loss_key"], **{**parameters(case), **changes})
    return values(loss_fn(labels, scores, weight))


def check(case, actual, expected):
    if "acceptable" in case:  # TF-Ranking breaks ties at random, we keep their order
        expected = min(case["acceptable"], key=lambda value: abs(value - actual))
    near_or_repaired(case, actual, expected, case["tol"])


@pytest.mark.slow_on("jax")
@of_kind("loss")
def test_value_equals_the_peers(case):
    labels, scores, weight = inputs(case)
    expected, reduction, places = np.array(case["expected"]), case["reduction"], 1.0
    if case["loss_key"] in PER_PLACE and reduction in ("auto", "sum_over_batch_size"):
        reduction, places = "sum", float(labels.size)  # its mean is over all B·N places, padding included
    if reduction == "none":  # its values are per place, or [B, 1]
        expected = expected.reshape(len(labels), -1).sum(axis=1)
    actual = compute(case, labels, scores, weight, reduction=reduction)
    check(case, actual * lambda_factor(case, labels.shape[1]) / places, expected)


@pytest.mark.slow_on("jax")
@of_kind("loss_v1")
def test_v1_value_equals_the_peers(case):
    labels, scores, weight = inputs(case)
    key, reduction = case["loss_key"], case["reduction"]
    per_document = item_weights(labels, weight)
    if key == "multi_class_loss":  # a row per document
        loss_fn = tf_ranking.MultiClassLoss(
            **{name: value for name, value in case["params"].items() if name != "temperature"}
        )
        actual = values(loss_fn(labels.reshape(-1), scores.reshape(-1, scores.shape[-1])))
        return check(case, actual, case["expected"])
    if reduction == "weighted_mean" and "lambda_weight" in case["params"]:  # we never divide by lambda weights
        total = compute(case, labels, scores, per_document, reduction="sum")
        return check(case, total / _lambda_sum(case, labels, scores), case["expected"])
    if reduction == "weighted_mean" and key in PAIRWISE:
        return check(
            case,
            compute(case, labels, scores, per_document, normalization="batch"),
            case["expected"],
        )
    total = compute(case, labels, scores, weight if key not in PER_PLACE else per_document, reduction="sum")
    divisor = {
        "weighted_sum": lambda: 1.0,
        "weighted_mean": lambda: _pair_weights(labels, per_document).sum(),
        "weighted_sum_by_nonzero_weights": lambda: _counted(key, labels, weight),
    }[reduction]()
    check(case, total / divisor, case["expected"])


def _pair_weights(labels, weight):
    """CircleLoss' weight of a list: the mean over its pairs of the higher document's weight."""
    valid = labels >= 0
    pairs = (labels[:, :, None] > labels[:, None, :]) & valid[:, :, None] & valid[:, None, :]
    weight = np.ones_like(labels) if weight is None else weight
    return (pairs * weight[:, :, None]).sum(axis=(1, 2)) / pairs.sum(axis=(1, 2))


def _lambda_sum(case, labels, scores):
    """The sum of the lambda weights of the pairs that count, of documents that are all real."""
    ranks = 1 + np.argsort(np.argsort(-scores, axis=1), axis=1).astype("int32")
    ordered = labels[:, :, None] > labels[:, None, :] if case["loss_key"] != "pairwise_mse_loss" else True
    weights = lambda_weight(case["params"]["lambda_weight"]).pair_weights(labels, ranks, labels >= 0)
    return (ordered * values(weights)).sum()


def _counted(key, labels, weight):
    """How many weights are not 0: of documents, or of lists."""
    valid = labels >= 0
    weight = np.ones_like(labels) if weight is None else np.broadcast_to(weight, labels.shape)
    if key in POINTWISE:
        return (valid & (weight != 0)).sum()
    relevant = (np.where(valid, labels, 0.0) * weight).sum(axis=1) != 0
    return relevant.sum() if key in RELEVANT_LISTS or not (weight == 1).all() else len(labels)


@of_kind("loss_per_list")
def test_value_per_list_equals_the_peers(case):
    labels, scores, weight = inputs(case)
    key = case["loss_key"]
    weight = item_weights(labels, weight)
    flat = {"temperature": 1.0} if "temperature" in case["params"] and key not in WITHOUT_TEMPERATURE else {}
    if case["output"] == "weights":  # seen in the loss of a weighted list: its loss times its weight
        twin = next(c for c in CASES if c["kind"] == "loss_per_list" and c["output"] == "losses" and _same(c, case))
        expected = np.array(case["expected"]) * twin["expected"]
        tol = 1e-5 * max(np.abs(case["expected"]).max(), 1.0) + case["tol"]
        return near(compute(case, labels, scores, weight, reduction="none", **flat), expected, tol)
    if key in PER_PLACE:
        flat["normalization"] = "query"
    elif key == "softmax_loss":
        flat["normalize_labels"] = True
    else:
        weight = None
    check(case, compute(case, labels, scores, weight, reduction="none", **flat), np.array(case["expected"]))


def _same(a, b):
    return all(a.get(name) == b.get(name) for name in ("loss_key", "params", "y_true", "y_pred", "sample_weight"))


@of_kind("loss_unreduced")
def test_unreduced_value_equals_the_peers(case):
    labels, scores, weight = inputs(case)
    flat = {"temperature": 1.0} if "temperature" in case["params"] else {}
    if case["loss_key"] in WITHOUT_TEMPERATURE:
        flat = {}
    if case["loss_key"] == "softmax_loss":
        flat["normalize_labels"] = True
    expected = np.array(case["expected"]).reshape(len(labels), -1).sum(axis=1)
    check(case, compute(case, labels, scores, weight, reduction="none", **flat), expected)


@of_kind("lambda_weight")
def test_lambda_weight_equals_the_peers(case):
    labels, ranks = np.array(case["labels"], dtype="float32"), np.array(case["ranks"], dtype="int32")
    weight = lambda_weight({"class": case["loss_key"], **case["params"]})
    mask = labels >= 0
    if case["method"] == "individual_weights":
        actual = values(weight.document_weights(labels, ranks, mask))
    else:
        plain = case["loss_key"] in ("LabelDiffLambdaWeight", "PrecisionLambdaWeight")
        actual = values(weight.pair_weights(labels, ranks, mask)) * (1.0 if plain else labels.shape[1])
    near(actual, case["expected"], case["tol"])


def test_every_golden_case_is_tested():
    unseen = {case["id"] for case in CASES if not known(case) and case["id"] not in NOT_OBSERVABLE}
    random = {case["loss_key"] for case in CASES if case["id"] in unseen}
    assert random == {"coupled_rankdistil_loss", "gumbel_approx_ndcg_loss", "yeti_logistic_loss"}
    kinds = {"loss", "loss_v1", "loss_per_list", "loss_unreduced", "lambda_weight", "normalized_weights"}
    assert {case["kind"] for case in CASES} == kinds  # normalized_weights: no API of ours shows them
    ids = {case["id"] for case in CASES}
    assert {name for name in REPAIRED if name.startswith("tfr")} <= ids
    assert set(NOT_OBSERVABLE) <= ids
