"""Checkpoints: a training that goes on from one ends bit by bit as if it had never stopped; damaged and foreign files."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from ml4ir_losses.config.load import load_config
from ml4ir_losses.config.training import CheckpointConfig
from ml4ir_losses.experiments.checkpoints.callback import Checkpoints, Request
from ml4ir_losses.experiments.checkpoints.checkpoint import Checkpoint
from ml4ir_losses.experiments.checkpoints.folder import written
from ml4ir_losses.experiments.experiment import prepare
from ml4ir_losses.experiments.fit import fit
from ml4ir_losses.experiments.run_folder import RunFolder
from ml4ir_losses.model.state import model_variables, random_state, values_of
from small import config, write_splits
from small_texts import PAIR, TRANSFORMER, TRIPLET, write_texts
from small_texts import config as text_config

pytestmark = pytest.mark.usefixtures("eager_steps")
TENSORFLOW = pytest.mark.backend("tensorflow")
GUMBEL = {"key": "gumbel_approx_ndcg", "seed": 5}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_splits(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def text_folder(tmp_path_factory):
    return write_texts(tmp_path_factory.mktemp("texts"))


class Requests(keras.callbacks.Callback):
    """Requests a checkpoint once a number of batches is trained, or raises there."""

    def __init__(self, checkpoints, requests):
        super().__init__()
        self.checkpoints, self.requests, self.batches = checkpoints, requests, 0

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1
        request = self.requests.get(self.batches)
        if isinstance(request, Request):
            self.checkpoints.request(request)
        elif request is not None:
            raise request


def run(spec, path, requests=None, resume=None, every=None, keep=20):
    """Trains a config in a fresh experiment and returns all that it ends with; `requests` are by number of batch."""
    folder = RunFolder(path)
    path.mkdir()
    experiment = prepare(load_config(spec))
    checkpoints = Checkpoints(path / "checkpoints", CheckpointConfig(every=every, keep=keep))
    callbacks = [Requests(checkpoints, requests or {})]
    done = fit(experiment, folder, None, callbacks, checkpoints=checkpoints, resume=resume)
    return SimpleNamespace(
        experiment=experiment,
        fit=done,
        path=path,
        model=values_of(model_variables(experiment.model)),
        optimizer=values_of(experiment.model.optimizer.variables),
        random=random_state(),
        history=(path / "history.csv").read_text(),
        metrics={part: experiment.evaluate_part(part, folder) for part in experiment.evaluated},
        untrained=experiment.untrained,
    )


def assert_equal(one, other):
    """The two trainings end with the same bits."""
    assert one.history == other.history
    assert one.fit == other.fit
    assert one.metrics == other.metrics
    assert one.untrained == other.untrained
    for name in ("model", "optimizer", "random"):
        for a, b in zip(getattr(one, name), getattr(other, name), strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


def assert_resumes(spec, tmp_path, batches):
    """A training goes on to the same end from checkpoints after so many batches; returns the training and positions."""
    whole = run(spec, tmp_path / "whole", dict.fromkeys(batches, Request.CHECKPOINT))
    files = written(whole.path / "checkpoints")
    for i, path in enumerate(files.values()):
        assert_equal(run(spec, tmp_path / f"resumed{i}", resume=Checkpoint(path)), whole)
    return whole, sorted((position.epoch, position.batch) for position in files)


def features(folder, loss="softmax_cross_entropy", **sections):
    """A config of 6 batches per epoch, with dropout."""
    model = {"architecture": {"key": "dnn", "hidden_units": [8], "dropout": 0.2}, "loss": loss}
    return config(
        folder,
        data={"batch_size": 7, **sections.pop("data", {})},
        model={**model, **sections.pop("model", {})},
        training={"epochs": 3, "report": False, "seed": 2, **sections.pop("training", {})},
        **sections,
    )


PLATEAU = {
    "model": {"lr_schedule": {"key": "plateau", "patience": 1, "factor": 0.5}},
    "training": {"epochs": 5, "early_stopping": {"patience": 2}},
}
RANDOM = {
    "loss": GUMBEL,
    "data": {"max_list_size": 4, "truncation": "random"},
    "model": {
        "feature_dropout": 0.2,
        "lr_schedule": {"key": "cosine", "warmup_steps": 4},
        "optimizer": {"key": "sgd", "learning_rate": 0.1, "momentum": 0.9, "use_ema": True},
    },
}


def texts(folder, loss, columns=TRIPLET, **sections):
    """A config of 4 batches per epoch, with dropout."""
    data = {"validation": "validation.csv", **sections.pop("data", {})}
    return text_config(folder, loss, columns, sections.pop("encoder", TRANSFORMER), data=data, **sections)


CACHED = {"key": "cached_multiple_negatives_ranking", "mini_batch_size": 5}
MEMORY = {"key": "cross_batch_memory", "memory_size": 30, "loss": "multiple_negatives_ranking"}
CROSS = {"key": "cross_encoder_multiple_negatives_ranking", "num_negatives": 3}
SETS = {
    "sampling": "proportional",
    "datasets": {
        "pairs": {"train": "train.csv", "columns": TRIPLET, "loss": MEMORY},
        "scores": {"train": "train.csv", "columns": PAIR | {"label": "score"}, "loss": "cosent", "batch_size": 9},
    },
}


@pytest.mark.graph
def test_plateau_and_early_stopping_go_on(folder, tmp_path):
    """From the middle of an epoch, from its validation, and from the epoch after which training stops."""
    whole, positions = assert_resumes(features(folder, **PLATEAU), tmp_path, [2, 12])
    assert positions == [(0, 2), (1, 6)]


@pytest.mark.parametrize(
    ("sections", "batches"),
    [
        (RANDOM, [8]),
        ({"data": {"memory": 0, "cache": False}}, [9]),
        ({"training": {"precision": "mixed_float16"}}, [8]),
        (
            {
                "features": {"label": "clicked", "positions": "shown"},
                "model": {"position_bias": {"key": "additive", "max_position": 4, "dropout": 0.2}},
            },
            [8],
        ),
    ],
    ids=["random", "streamed", "float16", "position_bias"],
)
def test_features_go_on(sections, batches, folder, tmp_path):
    assert_resumes(features(folder, **sections), tmp_path, batches)


@pytest.mark.parametrize(
    ("loss", "columns", "sections", "batches"),
    [
        (MEMORY, TRIPLET, {"data": {"batching": "no_duplicates"}}, [2, 4]),
        (CACHED, TRIPLET, {}, [6]),
        (CROSS, PAIR, {"architecture": "cross_encoder"}, [6]),
        (None, None, {"data": SETS}, [11]),
    ],
    ids=["memory", "grad_cache", "cross_encoder", "data_sets"],
)
def test_texts_go_on(loss, columns, sections, batches, text_folder, tmp_path):
    spec = texts(text_folder, loss, columns, **sections)
    if loss is None:
        spec["data"] = {
            name: value for name, value in spec["data"].items() if name in ("directory", "batch_size")
        } | SETS
    assert_resumes(spec, tmp_path, batches)
