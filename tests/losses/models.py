"""Small models whose output is one score per document, or per class."""

import keras
import numpy as np

from losses.cases import case_of, keras_batch


@keras.saving.register_keras_serializable("ml4ir_losses_tests")
class Scores(keras.layers.Layer):
    """[B, N, 1] -> [B, N]; it passes a mask on."""

    supports_masking = True

    def call(self, x):
        return keras.ops.squeeze(x, axis=-1)


def ranker(size=6, features=3, outputs=0):
    """Documents of a few features -> one score each, [B, N], or `outputs` of them, [B, N, K]."""
    inputs = keras.Input((size, features), name="documents")
    dense = keras.layers.Dense(outputs or 1, kernel_initializer=start())(inputs)
    return keras.Model(inputs, dense if outputs else Scores(name="logits")(dense))


def classifier(classes=6, features=3):
    inputs = keras.Input((features,), name="row")
    return keras.Model(inputs, keras.layers.Dense(classes, kernel_initializer=start())(inputs))


def encoder(columns, dims, features=3):
    """Texts of a few features -> one embedding each, [B, C, D], or [B, D] without columns."""
    inputs = keras.Input((*columns, features), name="texts")
    return keras.Model(inputs, keras.layers.Dense(dims, kernel_initializer=start())(inputs))


def start():
    return keras.initializers.RandomNormal(stddev=1.0, seed=4)


def model_and_data(key, rows=7, size=6):
    """A model for the loss, its inputs, and the batch of the labels."""
    batch = keras_batch(key, rows, size)
    rng = np.random.default_rng(8)
    case = case_of(key)
    *places, last = batch.scores.shape[1:]
    if case.layout == "embeddings":
        return encoder(places, last), rng.normal(size=(rows, *places, 3)).astype("float32"), batch
    if case.layout == "classes":
        return classifier(last), rng.normal(size=(rows, 3)).astype("float32"), batch
    size = batch.scores.shape[1]
    return ranker(size, outputs=case.outputs), rng.normal(size=(rows, size, 3)).astype("float32"), batch
