"""Steps in TensorFlow, as a graph and with XLA: value and gradient of a loss, and training of a Keras model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

import training
from cases import Arrays

Step = Callable[[], tuple[np.ndarray, ...]]


def step(loss: Callable[[Any, Any], Any], mode: str, given: Arrays) -> Step:
    """Value and gradient of `loss(labels, scores)` under `tf.function`; mode `xla`: with `jit_compile=True`."""

    @tf.function(jit_compile=True if mode == "xla" else None)
    def value_and_gradient(labels: tf.Tensor, scores: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(scores)
            value = loss(labels, scores)
        return value, tape.gradient(value, scores)

    labels, scores = tf.constant(given.labels), tf.constant(given.scores)
    return lambda: tuple(result.numpy() for result in value_and_gradient(labels, scores))


def padded_batches(map_batch: Callable[[Any, Any], Any]) -> tuple[tf.data.Dataset, int]:
    """Batches of (features, labels, both ragged) as `map_batch` makes them, and the number of documents."""
    x, labels, sizes = training.data()
    ragged = (tf.RaggedTensor.from_row_lengths(x, sizes), tf.RaggedTensor.from_row_lengths(labels, sizes))
    batches = tf.data.Dataset.from_tensor_slices(ragged).shuffle(len(sizes)).ragged_batch(training.BATCH_SIZE)
    return batches.map(map_batch, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE), len(labels)
