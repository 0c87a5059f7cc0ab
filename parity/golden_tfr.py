"""Writes tests/golden/tfr_compat.json, numbers of TF-Ranking: make_loss_fn, ragged tensors, positive_fn, differences.

Run by the Python of TF-Ranking's environment, from the root: .venv-parity-tfr/bin/python parity/golden_tfr.py
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import tensorflow as tf
import tensorflow_ranking as tfr

REDUCTIONS = ("SUM", "SUM_BY_NONZERO_WEIGHTS", "MEAN", "SUM_OVER_BATCH_SIZE")
PAIRS = ("pairwise_hinge_loss", "pairwise_logistic_loss", "pairwise_soft_zero_one_loss", "pairwise_mse_loss")
PLACES = ("sigmoid_cross_entropy_loss", "mean_squared_loss")
LISTS = ("softmax_loss", "poly_one_softmax_loss", "unique_softmax_loss", "approx_ndcg_loss", "approx_mrr_loss")
LISTS = (*LISTS, "neural_sort_cross_entropy_loss", "neural_sort_ndcg_loss")
SAMPLED = ("gumbel_approx_ndcg_loss", "gumbel_neural_sort_ndcg_loss")
LAMBDAS = {"ndcg": tfr.losses.create_ndcg_lambda_weight, "mrr": tfr.losses.create_reciprocal_rank_lambda_weight}
BATCHES = {
    "whole": {
        "labels": [[0.0, 2.0, 1.0, 3.0], [1.0, 0.0, 3.0, 2.0]],
        "scores": [[0.3, -0.5, 1.2, 0.7], [1.5, 0.2, -0.4, 0.9]],
        "weights": [[1.0, 2.0, 0.5, 3.0], [0.0, 1.5, 1.0, 2.0]],
        "keys": (*PAIRS, *PLACES, *LISTS, "list_mle_loss", "circle_loss"),
    },
    "padded": {
        "labels": [[0.0, 2.0, 1.0, -1.0], [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 2.0]],
        "scores": [[0.3, -0.5, 1.2, 0.7], [0.1, 0.6, -0.4, 0.9], [0.8, -1.1, 0.4, 0.2]],
        "weights": [[1.0, 2.0, 0.5, 3.0], [2.0, 1.5, 1.0, 2.0], [0.0, 1.5, 0.0, 2.0]],
        "keys": (*PAIRS, *PLACES, *LISTS),
    },
    "far": {  # scores so far apart that samples do not change their order
        "labels": [[0.0, 2.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
        "scores": [[-18.0, 0.0, 18.0], [18.0, -18.0, 0.0], [0.0, 18.0, -18.0]],
        "weights": [[1.0, 2.0, 0.5], [0.5, 1.5, 1.0], [2.0, 1.0, 1.0]],
        "keys": SAMPLED,
    },
}


def values(batch: dict, key: str, lambda_weight: str | None) -> dict[str, float]:
    labels, scores = tf.constant(batch["labels"]), tf.constant(batch["scores"])
    given = {"none": None, "lists": [row[:1] for row in batch["weights"]], "documents": batch["weights"]}
    numbers = {}
    for (kind, weights), reduction in itertools.product(given.items(), REDUCTIONS):
        reduction = getattr(tf.compat.v1.losses.Reduction, reduction)
        loss = tfr.losses.make_loss_fn(
            key,
            weights_feature_name=None if weights is None else "w",
            lambda_weight=None if lambda_weight is None else LAMBDAS[lambda_weight](),
            gumbel_params={"seed": 1},
            reduction=reduction,
            params={"gamma": 4.0} if key == "circle_loss" else None,  # exp overflows with its default
        )
        numbers[f"{kind} {reduction}"] = float(loss(labels, scores, {} if weights is None else {"w": weights}))
    return numbers


RAGGED = {
    "labels": [[1.0, 0.0], [0.0, 2.0, 1.0], [0.0, 1.0]],
    "scores": [[0.6, 0.8], [0.5, 0.8, 0.4], [0.1, 0.3]],
    "weights": [[1.0, 2.0], [0.5, 1.0, 3.0], [1.0, 1.0]],
}
RAGGED_LOSSES = ("PairwiseHingeLoss", "PairwiseLogisticLoss", "SoftmaxLoss", "UniqueSoftmaxLoss", "MeanSquaredLoss")
RAGGED_LOSSES = (*RAGGED_LOSSES, "SigmoidCrossEntropyLoss", "ApproxNDCGLoss", "ApproxMRRLoss")
RAGGED_METRICS = ("NDCGMetric", "DCGMetric", "MRRMetric", "ARPMetric", "OPAMetric", "PrecisionMetric", "RecallMetric")


def ragged_values() -> dict[str, list[float]]:
    """Sums of losses, and metrics, of ragged tensors: without weights, with weights of lists, and of documents."""
    labels, scores, documents = (tf.ragged.constant(value) for value in RAGGED.values())
    numbers: dict[str, list[float]] = {}
    for weights in (None, [[1.0], [0.5], [2.0]], documents):
        for name in RAGGED_LOSSES:
            loss = getattr(tfr.keras.losses, name)(reduction=tf.losses.Reduction.SUM, ragged=True)
            numbers.setdefault(name, []).append(float(loss(labels, scores, weights)))
        for name in RAGGED_METRICS:
            metric = getattr(tfr.keras.metrics, name)(ragged=True)
            metric.update_state(labels, scores, weights)
            numbers.setdefault(name, []).append(float(metric.result()))
    return numbers


def positive_values() -> dict[str, float]:
    """Sums of the pairwise logistic loss with `PrecisionLambdaWeight`, by the lowest label that is positive."""
    batch = BATCHES["padded"]
    numbers = {}
    for lowest in (1.0, 2.0):
        weight = tfr.keras.losses.PrecisionLambdaWeight(2, lambda label, lowest=lowest: label >= lowest)
        loss = tfr.keras.losses.PairwiseLogisticLoss(reduction=tf.losses.Reduction.SUM, lambda_weight=weight)
        numbers[str(lowest)] = float(loss(tf.constant(batch["labels"]), tf.constant(batch["scores"])))
    return numbers


PADDED = [[2.0, 1.0, 0.0], [-1.0, -1.0, -1.0]]
LISTS_OF_3 = [[3.0, 1.0, 2.0], [1.0, 2.0, 3.0]]
GAINS = {"labels": [[2.0, 0.0, 1.0]], "scores": [[0.1, 0.9, 0.4]]}
ONE_PAIR = {"labels": [[0.0, 0.0, 1.0]], "scores": [[1.0, 3.0, 2.0]]}
SQUARE = {"labels": [[1.0, 0.0], [0.0, 2.0]], "scores": [[0.6, 0.8], [0.5, 0.8]]}
NO_RELEVANCE = {"labels": [[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]], "scores": LISTS_OF_3, "weights": [[1.0], [3.0]]}
MIXTURE = {"labels": [[0.0, 2.0, 1.0]], "scores": [[[1.0, 3.0], [2.0, 4.0], [3.0, 1.0]]]}
DIFFERENCES = [  # where the library differs on purpose; "auto" without weights where nothing is said
    {"what": "weight of a list without relevance", "class": "NDCGMetric", **NO_RELEVANCE},
    {"what": "a list of padding alone, metric", "class": "NDCGMetric", "labels": PADDED, "scores": LISTS_OF_3},
    {"what": "a list of padding alone, loss", "class": "ListMLELoss", "labels": PADDED, "scores": LISTS_OF_3},
    {
        "what": "weights [B] where B = N",
        "class": "MeanSquaredLoss",
        "reduction": "sum",
        **SQUARE,
        "weights": [1.0, 3.0],
    },
    {"what": "a negative gain, metric", "class": "NDCGMetric", "gain_fn": "minus_1", **GAINS},
    {
        "what": "a negative gain, loss",
        "class": "PairwiseLogisticLoss",
        "lambda_weight": ["NDCGLambdaWeight", {"gain_fn": "minus_1"}],
        **GAINS,
    },
    {"what": "divisor B·N", "class": "PairwiseLogisticLoss", **ONE_PAIR},
    {
        "what": "divisor, with 3 padded documents",
        "class": "PairwiseLogisticLoss",
        "labels": [[0.0, 0.0, 1.0, -1.0, -1.0, -1.0]],
        "scores": [[1.0, 3.0, 2.0, 0.0, 0.0, 0.0]],
    },
    {
        "what": "factor N",
        "class": "PairwiseLogisticLoss",
        "reduction": "sum",
        "lambda_weight": ["NDCGLambdaWeight", {}],
        **ONE_PAIR,
    },
    {
        "what": "ListMLE with 2 padded documents",
        "class": "ListMLELoss",
        "labels": [[0.0, 2.0, 1.0, -1.0, -1.0]],
        "scores": [[1.0, 3.0, 2.0, 0.0, 0.0]],
    },
    {"what": "ListMLE of scores far apart", "class": "ListMLELoss", "labels": [[1.0, 0.0]], "scores": [[120.0, 0.0]]},
    {"what": "softmax beside padding", "class": "SoftmaxLoss", "labels": [[1.0, -1.0]], "scores": [[-30.0, 0.0]]},
    {
        "what": "document weights without relevance",
        "class": "ListMLELoss",
        "labels": [[0.0, 0.0, 0.0]],
        "scores": [[1.0, 3.0, 2.0]],
        "weights": [[1.0, 2.0, 3.0]],
    },
    {"what": "temperature of MixtureEMLoss", "class": "MixtureEMLoss", "temperature": 0.5, **MIXTURE},
]
DATA = ("what", "class", "reduction", "labels", "scores", "weights")


def difference(case: dict) -> float:
    """The value of a row of `DIFFERENCES`."""
    functions = {"minus_1": lambda x: x - 1.0}
    params = {name: functions.get(str(value), value) for name, value in case.items() if name not in DATA}
    if "lambda_weight" in params:
        name, more = params["lambda_weight"]
        more = {key: functions.get(value, value) for key, value in more.items()}
        params["lambda_weight"] = getattr(tfr.keras.losses, name)(**more)
    labels, scores = tf.constant(case["labels"]), tf.constant(case["scores"])
    if case["class"].endswith("Metric"):
        metric = getattr(tfr.keras.metrics, case["class"])(**params)
        metric.update_state(labels, scores, case.get("weights"))
        return float(metric.result())
    loss = getattr(tfr.keras.losses, case["class"])(reduction=case.get("reduction", "auto"), **params)
    return float(loss(labels, scores, case.get("weights")))


def main() -> None:
    cases = []
    for name, batch in BATCHES.items():
        for key in batch["keys"]:
            spread = LAMBDAS if key in PAIRS or key == "softmax_loss" else ()
            for lambda_weight in (None, *spread):
                expected = values(batch, key, lambda_weight)
                cases.append({"batch": name, "key": key, "lambda_weight": lambda_weight, "expected": expected})
    batches = {name: {k: v for k, v in batch.items() if k != "keys"} for name, batch in BATCHES.items()}
    versions = {"tensorflow_ranking": tfr.__version__, "tensorflow": tf.__version__}
    path = Path(__file__).parents[1] / "tests" / "golden" / "tfr_compat.json"
    parts = {
        "versions": versions,
        "ragged": {"inputs": RAGGED, "expected": ragged_values()},
        "positive": positive_values(),
        "differences": [{**case, "there": difference(case)} for case in DIFFERENCES],
        "batches": batches,
    }
    head = "{" + "".join(f"{json.dumps(name)}: {json.dumps(part)},\n" for name, part in parts.items()) + '"cases": [\n'
    path.write_text(head + ",\n".join(json.dumps(case) for case in cases) + "\n]}\n")


if __name__ == "__main__":
    main()
