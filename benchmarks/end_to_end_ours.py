"""A contestant of `end_to_end.py`: this package as a config makes it, and bare Keras with mean squared error."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras
import numpy as np
from end_to_end_data import FEATURES, HIDDEN, LEARNING_RATE, arguments, keras_clock, make_data

LOSSES = {
    "lambda_loss": {"key": "lambda_loss"},
    "pairwise_logistic": {"key": "pairwise_logistic", "lambda_weight": "ndcg"},
    "mean_squared_error": {"key": "mean_squared_error"},
    "softmax_cross_entropy": {"key": "softmax_cross_entropy"},
}
METRICS = {
    "": [],
    "ndcg": [{"key": "ndcg", "topn": 10}],
    "default": [{"key": "ndcg", "topn": 10}, {"key": "mrr"}],
    "five": [{"key": "ndcg", "topn": n} for n in (1, 5, 10)] + [{"key": "mrr"}, {"key": "map", "topn": 10}],
    "pairs": [{"key": "ordered_pair_accuracy"}],
}


def fit_ours(variant, options, x, labels, sizes):
    """`loss`, or `loss+metrics`; `loss@padded` for batches of the lists as they come, not of like lengths."""
    from ml4ir_losses.config.load import load_config
    from ml4ir_losses.data.queries import Queries
    from ml4ir_losses.experiments.build import build_from_inputs
    from ml4ir_losses.experiments.feature_experiment import FeatureExperiment
    from ml4ir_losses.features.fitted import FittedInput
    from ml4ir_losses.metrics.ranking import get_metric

    variant, _, order = variant.partition("@")
    loss, _, metrics = variant.partition("+")
    config = load_config(
        {
            "data": {"train": "mslr.txt", "batch_size": options.batch_size, "bucketing": order != "padded"},
            "features": {"inputs": [{"name": "x", "type": "numeric"}]},
            "model": {
                "architecture": {"key": "dnn", "hidden_units": list(HIDDEN)},
                "loss": LOSSES[loss],
                "optimizer": {"key": "adam", "learning_rate": LEARNING_RATE},
            },
        }
    )
    names = [f"x{i}" for i in range(FEATURES)]
    inputs = [FittedInput(name="x", type="numeric", columns=names, fill=[0.0] * FEATURES)]
    model = build_from_inputs(config, inputs)
    model.compile(
        optimizer=model.optimizer,
        loss=model.relevance_loss.get_loss_fn(),
        metrics=[get_metric(metric) for metric in METRICS[metrics]],
    )
    queries = Queries(
        ids=np.arange(len(sizes)).astype(str),
        offsets=np.concatenate([[0], np.cumsum(sizes)]),
        features={"x": x},
        labels={"label": labels},
        document_ids=np.arange(len(x)).astype(str),
    )
    experiment = FeatureExperiment(config, inputs, {"train": queries}, model)
    return model, experiment.dataset("train")


def bare(loss):
    """The same network in plain Keras."""
    hidden = [keras.layers.Dense(units, activation="relu") for units in HIDDEN]
    model = keras.Sequential([*hidden, keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(LEARNING_RATE), loss=loss)
    return model


def fit_documents(options, x, labels, sizes):
    """Plain documents: no queries, no padding; as many per batch as a batch of queries has on average."""
    batch_size = round(options.batch_size * sizes.mean())
    return bare("mean_squared_error"), (x, labels[:, None], batch_size)


def fit_padded(options, x, labels, sizes):
    """Lists padded to the longest of the batch, whose padding has weight 0, by `tf.data`."""
    import tensorflow as tf

    ragged = tf.data.Dataset.from_tensor_slices(
        (tf.RaggedTensor.from_row_lengths(x, sizes), tf.RaggedTensor.from_row_lengths(labels, sizes))
    )
    dataset = ragged.shuffle(len(sizes)).ragged_batch(options.batch_size)
    dataset = dataset.map(
        lambda x, y: (x.to_tensor(), y.to_tensor()[..., None], tf.ones_like(y).to_tensor()), tf.data.AUTOTUNE
    )
    return bare("mean_squared_error"), dataset.prefetch(tf.data.AUTOTUNE)


def main():
    """Trains, and prints the rates."""
    options = arguments()
    x, labels, sizes = make_data(options.queries)
    keras.utils.set_random_seed(1)
    clock, callback = keras_clock(keras, len(labels))
    rest = {"epochs": 1 + options.epochs, "callbacks": [callback], "verbose": 0}
    if options.variant == "keras_documents":
        model, (x, y, batch_size) = fit_documents(options, x, labels, sizes)
        model.fit(x, y, batch_size=batch_size, **rest)
    else:
        make = {"keras_padded": fit_padded}.get(options.variant)
        made = make(options, x, labels, sizes) if make else fit_ours(options.variant, options, x, labels, sizes)
        made[0].fit(made[1], shuffle=False, **rest)
    clock.report()


if __name__ == "__main__":
    main()
