"""Our values and gradients, and the worst difference from the peer's for each case: a table."""

from __future__ import annotations

import argparse
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from batches import batches, taken
from cases import CASES, TFR_METRICS, Case
from embeddings import EmbeddingCase
from ml4ir_losses.compat import tf_ranking
from ml4ir_losses.compat.sentence_transformers import cross_encoder, losses

LIMIT = 2e-4  # float32 on either side: sums of a few hundred terms, and temperatures down to 0.1


def make(peer: str, case: Case | EmbeddingCase, temperature: float | None) -> Any:
    params = dict(case.params)
    if isinstance(case, EmbeddingCase):
        params |= {"loss": getattr(losses, params["loss"])()} if "loss" in params else {}
        return getattr(losses, case.name)(**params)
    if temperature is not None:
        params["temperature"] = temperature
    if case.inputs in ("sparse", "parts"):
        return sparse_loss(case.name, params)
    if peer == "st":
        if "weighting_scheme" in params:
            params["weighting_scheme"] = getattr(cross_encoder, params["weighting_scheme"])()
        if params.pop("discount", None):
            params["lambda_weight"] = cross_encoder.PListMLELambdaWeight("log2_inverse")
        return getattr(cross_encoder, case.name)(**params)
    if "lambda_weight" in params:
        name, arguments = params["lambda_weight"]
        params["lambda_weight"] = getattr(tf_ranking, name)(**arguments)
    if case in TFR_METRICS:
        return getattr(tf_ranking, case.name)(**params)
    return getattr(tf_ranking, case.name)(reduction="sum", **params)


def sparse_loss(name: str, params: dict[str, Any]) -> Any:
    """Ours under the peer's name; a loss within a loss is a mapping with its class under `loss`."""
    inner = dict(params.get("loss", {}))
    if inner:
        params = {**params, "loss": sparse_loss(inner.pop("loss"), inner)}
    return getattr(losses, name)(**params)


def ours(peer: str, case: Case | EmbeddingCase, inputs: dict[str, Any]) -> tuple[float, np.ndarray | None]:
    y_true, y_pred, made = inputs["y_true"], inputs["y_pred"], make(peer, case, inputs["temperature"])
    if isinstance(made, keras.metrics.Metric):
        made.update_state(y_true, y_pred, sample_weight=inputs["weight"])
        return float(made.result()), None
    if isinstance(case, Case) and case.inputs == "rows":
        y_true, y_pred = y_true[:, None], y_pred[:, None]
    weight = None if peer == "st" else inputs["weight"]
    scores = tf.constant(y_pred)
    with tf.GradientTape() as tape:
        tape.watch(scores)
        value = made(y_true, scores, weight)
    factor = y_true.shape[1] if isinstance(case, Case) and case.factor == "N" else 1
    return float(value) * factor, tape.gradient(value, scores).numpy().reshape(inputs["y_pred"].shape) * factor


def difference(a: Any, b: Any) -> float:
    """The worst |a - b| over max(1, |b|), b being the peer's."""
    a, b = np.asarray(a, "float64"), np.asarray(b, "float64")
    return float(np.max(np.abs(a - b) / np.maximum(1.0, np.abs(b)))) if np.isfinite(b).all() else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=sorted(CASES))
    parser.add_argument("count", type=int)
    parser.add_argument("seed", type=int)
    parser.add_argument("results")
    arguments = parser.parse_args()
    theirs = np.load(arguments.results)
    beyond = []
    print(f"\n{'peer ' + arguments.peer:88} batches    value  gradient  left out")
    worst: dict[str, list[Any]] = {case.id: [0, 0.0, 0.0] for case in CASES[arguments.peer]}
    for i, batch in enumerate(batches(arguments.count, arguments.seed)):
        for case in CASES[arguments.peer]:
            inputs = taken(case, batch)
            if inputs is None:
                continue
            value, slopes = ours(arguments.peer, case, inputs)
            row = worst[case.id]
            row[0] += 1
            row[1] = np.maximum(row[1], difference(value, theirs[f"{case.id}|{i}|value"]))  # NaN stays
            if slopes is not None:
                row[2] = np.maximum(row[2], difference(slopes, theirs[f"{case.id}|{i}|gradient"]))
    for case in CASES[arguments.peer]:
        count, value, slope = worst[case.id]
        print(f"{case.id:88} {count:7} {value:8.1e} {slope:9.1e}  {case.left_out}")
        if not (count and value <= LIMIT and slope <= LIMIT):
            beyond.append(case.id)
    if beyond:
        raise SystemExit(f"Beyond {LIMIT:g}: {', '.join(beyond)}")


if __name__ == "__main__":
    main()
