"""One process of a training: `python tensorflow_job.py JOBS.json RUNS`.

Trains a list of `{"name": ..., "config": ..., "dies_at": ...}` into `RUNS/<name>` and writes the weights to
`RUNS/<name>-<rank>.npz`. With `dies_at` the process is killed at that step of the training.
"""

import json
import os
import signal
import sys
from pathlib import Path

import keras
import numpy as np

from ml4ir_losses.experiments.feature_experiment import FeatureExperiment
from ml4ir_losses.experiments.train import train


class Dies(keras.callbacks.Callback):
    """Kills its process at a step of the training."""

    def __init__(self, step):
        super().__init__()
        self.steps_left = step

    def on_train_batch_end(self, batch, logs=None):
        self.steps_left -= 1
        if self.steps_left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def main(jobs, runs):
    rank = json.loads(os.environ["TF_CONFIG"])["task"]["index"] if "TF_CONFIG" in os.environ else 0
    for job in json.loads(jobs.read_text()):
        if "dies_at" in job:
            FeatureExperiment.callbacks = lambda self, step=job["dies_at"]: [Dies(step)]
        run = train(job["config"], runs / job["name"], progress=False, resume=True)
        np.savez(runs / f"{job['name']}-{rank}.npz", *run.model.get_weights())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
