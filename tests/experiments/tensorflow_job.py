"""Trains the configs of a JSON file one after another, and keeps the weights: a process of a distributed training.

`python tensorflow_job.py JOBS.json RUNS`: a list of `{"name": ..., "config": ..., "dies_at": ...}` is trained into
`RUNS/<name>`, and the weights are written to `RUNS/<name>-<rank>.npz`. With `dies_at` the process ends itself at that
step of the training.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np

from ml4ir_losses.experiments.checkpoints.callback import Checkpoints
from ml4ir_losses.experiments.train import train


class Dies:
    """Ends the process at the given number of steps, as `kill -9` would."""

    def __init__(self, step: int) -> None:
        self.step, self.begin = step, Checkpoints.on_train_batch_begin

    def __call__(self, checkpoints: Checkpoints, batch: int, logs: object = None) -> None:
        self.begin(checkpoints, batch, logs)
        if checkpoints._steps == self.step:
            os._exit(9)


def main(jobs: Path, runs: Path) -> None:
    rank = json.loads(os.environ.get("TF_CONFIG", '{"task": {"index": 0}}'))["task"]["index"]
    for job in json.loads(jobs.read_text()):
        if job.get("dies_at"):
            dies = Dies(job["dies_at"])
            Checkpoints.on_train_batch_begin = lambda self, batch, logs=None, dies=dies: dies(self, batch, logs)  # type: ignore[method-assign]
        options = {"resume": True} if job.get("resume") else {}
        run = train(job["config"], runs / job["name"], progress=False, **options)
        np.savez(runs / f"{job['name']}-{rank}.npz", *run.model.get_weights())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
