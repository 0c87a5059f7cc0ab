"""TF-Ranking's values and gradients; run by the Python of its environment."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_ranking as tfr
from tensorflow_ranking.python import losses_impl

from batches import batches, taken
from cases import TFR_LOSSES, TFR_METRICS, TFR_V1, Case


def make(case: Case, temperature: float | None) -> Any:
    params = dict(case.params)
    if "lambda_weight" in params:
        name, arguments = params["lambda_weight"]
        params["lambda_weight"] = getattr(tfr.keras.losses, name)(**arguments)
    if temperature is not None:
        params["temperature"] = temperature
    if case.name in TFR_V1:
        loss = getattr(losses_impl, case.name)(name=None, **params)
        if temperature is not None:
            loss._temperature = temperature
        total = tf.compat.v1.losses.Reduction.SUM
        return lambda y, s, w: loss.compute(y, s, w, reduction=total)
    return getattr(tfr.keras.losses, case.name)(reduction=tf.losses.Reduction.SUM, **params)


def main(count: int, seed: int, path: str) -> None:
    results = {}
    for i, batch in enumerate(batches(count, seed)):
        for case in TFR_LOSSES:
            inputs = taken(case, batch)
            if inputs is None:
                continue
            loss, scores = make(case, inputs["temperature"]), tf.constant(inputs["y_pred"])
            with tf.GradientTape() as tape:
                tape.watch(scores)
                value = loss(tf.constant(inputs["y_true"]), scores, inputs["weight"])
            slopes = tape.gradient(value, scores)
            results[f"{case.id}|{i}|value"] = value.numpy()
            results[f"{case.id}|{i}|gradient"] = np.zeros(1) if slopes is None else slopes.numpy()
        for case in TFR_METRICS:
            inputs = taken(case, batch)
            if inputs is None:
                continue
            metric = getattr(tfr.keras.metrics, case.name)(**case.params)
            metric.update_state(inputs["y_true"], inputs["y_pred"], sample_weight=inputs["weight"])
            results[f"{case.id}|{i}|value"] = metric.result().numpy()
    np.savez(path, **results)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
