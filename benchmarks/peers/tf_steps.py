"""Value and gradient of a loss in TensorFlow, as a graph and with XLA."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from bench_arrays import Arrays

Step = Callable[[], tuple[np.ndarray, np.ndarray]]


def step(loss: Callable[[Any, Any], Any], mode: str, given: Arrays) -> Step:
    """`loss(labels, scores)` under `tf.function`; mode `xla`: with `jit_compile=True`."""

    @tf.function(jit_compile=True if mode == "xla" else None)
    def both(labels: tf.Tensor, scores: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(scores)
            value = loss(labels, scores)
        return value, tape.gradient(value, scores)

    labels, scores = tf.constant(given.labels), tf.constant(given.scores)

    def run() -> tuple[np.ndarray, np.ndarray]:
        value, slopes = both(labels, scores)
        return value.numpy(), slopes.numpy()

    return run
