"""Plain Keras on TensorFlow: the network of the training rows with mean squared error, over padded lists or rows."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

import training
from cases import Case
from peers import tf_steps

MODES = ("graph",)


def versions() -> str:
    return f"Keras {keras.__version__} on TensorFlow {tf.__version__}"


def step(case: Case, shape: str, mode: str, warm_up: bool = False) -> training.Epoch:
    hidden = [keras.layers.Dense(units, activation="relu") for units in training.HIDDEN]
    model = keras.Sequential([*hidden, keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(training.LEARNING_RATE), loss=case.specs["plain_keras"][0])

    if "plain documents" in case.name:  # without lists, as many per batch as a batch of lists has
        x, labels, sizes = training.data()
        size = round(training.BATCH_SIZE * sizes.mean())
        return training.Epoch(lambda: model.fit(x, labels[:, None], batch_size=size, verbose=0), len(labels))

    def pad(x: Any, y: Any) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return x.to_tensor(), y.to_tensor()[..., None], tf.ones_like(y).to_tensor()  # padding has weight 0

    batches, documents = tf_steps.padded_batches(pad)
    return training.Epoch(lambda: model.fit(batches, verbose=0), documents)
