"""The shortest TensorFlow that has a loss's arithmetic, no mask and no check: what the call of a graph costs anyway."""

from __future__ import annotations

import tensorflow as tf
from bench_arrays import Arrays
from bench_cases import Case
from peers import tf_steps

MODES = ("graph", "xla")
LOSSES = {
    "mean_squared_error": lambda labels, scores: tf.reduce_mean(tf.square(labels - scores)),
    "softmax_cross_entropy": lambda labels, scores: tf.reduce_mean(
        tf.nn.softmax_cross_entropy_with_logits(labels, scores)
    ),
}


def versions() -> str:
    return f"TensorFlow {tf.__version__}"


def step(case: Case, mode: str, given: Arrays) -> tf_steps.Step:
    return tf_steps.step(LOSSES[case.peers["bare"][0]], mode, given)
