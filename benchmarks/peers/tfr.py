"""TF-Ranking, as a graph and with XLA."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tensorflow_ranking as tfr
from bench_arrays import Arrays
from bench_cases import Case
from peers import tf_steps
from tensorflow_ranking.python import losses_impl

MODES = ("graph", "xla")
WITHOUT_KERAS = ("CircleLoss", "PolyOneSoftmaxLoss", "NeuralSortCrossEntropyLoss", "NeuralSortNDCGLoss")


def versions() -> str:
    return f"tensorflow-ranking {tfr.__version__} on TensorFlow {tf.__version__}"


def make(case: Case) -> Callable[[Any, Any], Any]:
    name, params = case.peers["tfr"]
    params = dict(params)
    if "lambda_weight" in params:
        weight, arguments = params["lambda_weight"]
        params["lambda_weight"] = getattr(tfr.keras.losses, weight)(**arguments)
    if name not in WITHOUT_KERAS:
        return getattr(tfr.keras.losses, name)(**params)
    samples = params.pop("sample_size", 0)
    loss = getattr(losses_impl, name)(name=None, **params)
    sampler = losses_impl.GumbelSampler(sample_size=samples)

    def value(labels: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
        if samples:
            labels, scores, _ = sampler.sample(labels, scores)
        return loss.compute(labels, loss.get_logits(scores), None, tf.compat.v1.losses.Reduction.SUM)

    return value


def step(case: Case, mode: str, given: Arrays) -> tf_steps.Step:
    return tf_steps.step(make(case), mode, given)
