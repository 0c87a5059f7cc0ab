"""Small trainings for processes that the tests of distribution start."""

import os
import signal
import sys
from pathlib import Path

import keras

import small
import small_texts
from ml4ir_losses.experiments.feature_experiment import FeatureExperiment
from ml4ir_losses.experiments.train import train

PARALLEL = {"strategy": "data_parallel"}
SGD = {"optimizer": {"key": "sgd", "learning_rate": 0.02, "momentum": 0.9}}  # Adam magnifies rounding
IN_BATCH = {"key": "multiple_negatives_ranking", "gather_across_devices": True}
CACHED = {"key": "cached_multiple_negatives_ranking", "gather_across_devices": True, "mini_batch_size": 2}


def specs(data):
    """Configs by name; no number of rows or lists is a multiple of that of devices."""
    if not (data / "train.csv").exists():
        small.write_splits(data)
        (data / "texts").mkdir()
        small_texts.write_texts(data / "texts")
    lists = small.config(
        data,
        data={"batch_size": 9, "bucketing": False},
        features={"inputs": [{"name": name, "type": "numeric"} for name in ("price", "w")], "document_id": "doc"},
        model={**SGD, "aux_losses": ["list_mle"]},
    )
    negatives = small_texts.config(
        data / "texts", IN_BATCH, data={"batch_size": 9, "validation": "validation.csv"}, training=lists["training"]
    )
    negatives["model"] |= SGD
    cached = {**negatives, "model": negatives["model"] | {"loss": CACHED}}
    return {"lists": lists, "negatives": negatives, "cached": cached}


def train_all(data, out, names, distribution):
    """Trains configs into run folders of their names."""
    for name in names:
        spec = specs(data)[name]
        train({**spec, "training": spec["training"] | {"distribution": distribution}}, out / name, progress=False)


def train_and_lose(data, out, names, distribution):
    """Trains configs, then one whose process 1 is killed after its second epoch."""
    train_all(data, out, names, distribution)
    if os.environ["RANK"] == "1":
        FeatureExperiment.callbacks = lambda self: [Killed()]
    spec = specs(data)["lists"]
    changes = {"distribution": distribution, "epochs": 4, "checkpoint": {"every": "4 steps"}}
    train({**spec, "training": spec["training"] | changes}, out / "killed", progress=False)


class Killed(keras.callbacks.Callback):
    """Kills its process after two epochs."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            os.kill(os.getpid(), signal.SIGKILL)


def main():
    """Trains on one JAX device and on parts of 8; or in one of several processes on the devices of all."""
    data, out = map(Path, sys.argv[1:3])
    several = "KERAS_DISTRIBUTION_PROCESS_ID" in os.environ
    two = {"single": "none", "two": PARALLEL | {"devices": 2}, "eight": PARALLEL}
    for name, distribution in ({"processes": PARALLEL} if several else two).items():
        train_all(data, out / name, sys.argv[3:], distribution)


if __name__ == "__main__":
    main()
