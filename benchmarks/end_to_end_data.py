"""The data, the network and the clock that every contestant of `end_to_end.py` shares; NumPy only."""

from __future__ import annotations

import argparse
import json
import time

import numpy as np

FEATURES, HIDDEN, LEARNING_RATE = 136, (256, 128), 1e-3
MEAN, LONGEST, SPREAD = 120, 1251, 0.6  # list lengths of MSLR: mean, longest, standard deviation of the log
GRADES = (0.52, 0.32, 0.13, 0.02, 0.01)


def arguments():
    """What `end_to_end.py` asks of a contestant."""
    parser = argparse.ArgumentParser()
    parser.add_argument("variant")
    parser.add_argument("--queries", type=int, default=4500)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=1)
    return parser.parse_args()


def make_data(queries, seed=7):
    """(features [D, 136], labels [D], list lengths [Q]); rows of a query are adjacent."""
    rng = np.random.default_rng(seed)
    draws = rng.lognormal(np.log(MEAN) - SPREAD**2 / 2, SPREAD, queries)
    sizes = np.clip(np.rint(draws), 1, LONGEST).astype("int64")
    labels = rng.choice(len(GRADES), int(sizes.sum()), p=GRADES).astype("float32")
    x = rng.standard_normal((len(labels), FEATURES), dtype="float32")
    x[:, :8] += labels[:, None]
    return x, labels, sizes


class Clock:
    """Documents per second of the epochs after the first one, which warms up."""

    def __init__(self, documents):
        self.documents, self.rates, self.started = documents, [], 0.0

    def begin(self):
        self.started = time.perf_counter()

    def end(self):
        self.rates.append(self.documents / (time.perf_counter() - self.started))

    def report(self):
        """One line of JSON, the last that a contestant prints."""
        print(json.dumps({"rates": self.rates[1:], "warm_up": self.rates[0]}), flush=True)


def keras_clock(keras, documents):
    """A clock, and the callback of `fit` that runs it; `keras` is Keras 2 or 3."""
    clock = Clock(documents)
    callback = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs=None: clock.begin(), on_epoch_end=lambda epoch, logs=None: clock.end()
    )
    return clock, callback
