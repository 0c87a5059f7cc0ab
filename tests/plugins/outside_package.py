"""What another package brings: one thing of every kind, named in its entry points."""

import keras
import numpy as np
from keras import layers, ops

from ml4ir_losses.data.batchings.base import Batching
from ml4ir_losses.data.table import Source, Table
from ml4ir_losses.features.transforms import Transform
from ml4ir_losses.functional import softmax_cross_entropy
from ml4ir_losses.losses.base import ListwiseLossBase
from ml4ir_losses.losses.lambda_weights import LabelDiffLambdaWeight
from ml4ir_losses.metrics.ranking.mrr import mrr


class OutsideLoss(ListwiseLossBase):
    """A loss."""

    function = staticmethod(softmax_cross_entropy)


class OutsideWeight(LabelDiffLambdaWeight):
    """A lambda weight."""


def outside_metric(labels, scores, mask=None, *, item_weight=None, topn: int | None = None):
    """A metric."""
    return mrr(labels, scores, mask, item_weight=item_weight, topn=topn)


def outside_scorer(*, width: int = 4):
    """An architecture for features, of one logit."""
    return OutsideScorer(width)


@keras.saving.register_keras_serializable("outside")
class OutsideScorer(layers.Layer):
    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.inner, self.outer = layers.Dense(width, activation="relu"), layers.Dense(1)

    def build(self, shape):
        self.inner.build(shape)
        self.outer.build((*shape[:-1], self.inner.units))

    def call(self, x, mask=None, training=None):
        return ops.squeeze(self.outer(self.inner(x)), -1)


@keras.saving.register_keras_serializable("outside")
class OutsideWords(layers.Layer):
    """The mean of the words' vectors: of every column [B, C, D] for a dict, of one [B, D] for ids."""

    def __init__(self, vocabulary_size, width, **kwargs):
        super().__init__(**kwargs)
        self.sizes = {"vocabulary_size": vocabulary_size, "width": width}
        self.words, self.output_width = layers.Embedding(vocabulary_size, width), width

    def build(self, shape=None):
        self.words.build((None, None))
        self.built = True

    def mean(self, ids):
        there = ops.cast(ids > 0, "float32")[..., None]
        return ops.sum(self.words(ids) * there, 1) / (ops.sum(there, 1) + 1e-6)

    def call(self, x, training=None):
        if not isinstance(x, dict):
            return self.mean(x)
        return ops.stack([self.mean(x[name]) for name in ("anchor", "positive") if name in x], axis=1)

    def get_config(self):
        return {**super().get_config(), **self.sizes}


def outside_texts(*, width: int = 8, vocabulary_size=2):
    """An architecture for texts that has no encoder of ours."""
    return OutsideWords(vocabulary_size, width)


outside_texts.reads = "texts"


def outside_encoder(*, width: int, vocabulary_size=2):
    """An encoder with a required parameter."""
    return OutsideWords(vocabulary_size, width)


def outside_reader(path, *, queries: int = 12):
    """Data from no file."""
    rng = np.random.default_rng(len(path))
    rows = 5 * queries
    labels = rng.integers(0, 3, rows)
    columns = {"query_id": np.repeat(np.arange(queries), 5), "label": labels, "price": labels + rng.random(rows)}
    columns |= {"a": [f"red {n % 7}" for n in range(rows)], "b": [f"hat {n % 7}" for n in range(rows)]}
    return Table(columns, [Source(path, rows, lambda row: row)])


class OutsideTransform(Transform):
    """A transform with a parameter and a fitted value."""

    def __init__(self, factor: float = 1.0):
        self.factor = factor

    def fit(self, x):
        return {"scale": self.factor * float(abs(x).max())}

    @staticmethod
    def apply(x, fitted, ops):
        return ops.tanh(x / fitted["scale"])


class OutsideBatching(Batching):
    """Batches from the end to the start."""

    def batches(self, rows, batch_size, rng):
        order = np.arange(len(rows))[::-1]
        return iter(np.split(order, range(batch_size, len(order), batch_size)))


def outside_command(name: str = "you"):
    """A command."""
    print(f"hello {name}")
