"""Checkpoints: a training that goes on from one ends bit by bit as if it had never stopped; damaged files."""

import json
import logging
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from ml4ir_losses.config.load import load_config
from ml4ir_losses.config.training import CheckpointConfig
from ml4ir_losses.core.errors import ConfigError, DataError
from ml4ir_losses.data.sharding import Position
from ml4ir_losses.experiments.checkpoints.callback import Checkpoints, Request
from ml4ir_losses.experiments.checkpoints.checkpoint import Checkpoint
from ml4ir_losses.experiments.checkpoints.file import CheckpointError, CheckpointFile, write_checkpoint
from ml4ir_losses.experiments.checkpoints.folder import latest_checkpoint, path_of, written
from ml4ir_losses.experiments.experiment import prepare
from ml4ir_losses.experiments.fit import fit
from ml4ir_losses.experiments.run_folder import RunFolder
from ml4ir_losses.model.state import model_variables, values_of
from small import config, write_splits
from small_texts import BAG, PAIR, TRANSFORMER, TRIPLET, write_texts
from small_texts import config as text_config

pytestmark = pytest.mark.usefixtures("eager_steps")
TENSORFLOW = pytest.mark.backend("tensorflow")
JAX_SLOW = pytest.mark.slow_on("jax")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_splits(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def text_folder(tmp_path_factory):
    return write_texts(tmp_path_factory.mktemp("texts"))


class Requests(keras.callbacks.Callback):
    """Requests a checkpoint after some batches, or when an `epoch` or `evaluation` begins; or raises there."""

    def __init__(self, checkpoints, requests):
        super().__init__()
        self.checkpoints, self.requests, self.batches = checkpoints, requests, 0

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1
        self._act(self.requests.get(self.batches))

    def on_epoch_begin(self, epoch, logs=None):
        self._act(self.requests.get("epoch"))

    def on_test_begin(self, logs=None):
        self._act(self.requests.get("evaluation"))

    def _act(self, request):
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
        history=(path / "history.csv").read_text(),
        metrics={part: experiment.evaluate_part(part, folder) for part in experiment.evaluated[-1:]},
        untrained=experiment.untrained,
    )


def assert_equal(one, other):
    """The two trainings end with the same bits."""
    assert one.history == other.history
    assert one.fit == other.fit
    assert one.metrics == other.metrics
    assert one.untrained == other.untrained
    for name in ("model", "optimizer"):
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


@TENSORFLOW
def test_training_that_is_stopped_twice_in_an_evaluation_goes_on(folder, tmp_path):
    """The metrics of the epoch are kept, which its evaluation overwrites."""
    spec = features(folder)
    expected = run(spec, tmp_path / "0", {"evaluation": Request.CHECKPOINT})
    for number in (1, 2):  # from the oldest checkpoint, after all batches of the first epoch
        *_, oldest = written(tmp_path / f"{number - 1}" / "checkpoints").values()
        found = run(spec, tmp_path / f"{number}", {"epoch": Request.CHECKPOINT}, Checkpoint(oldest))
        assert_equal(found, expected)


def features(folder, loss="softmax_cross_entropy", **sections):
    """A config of 3 batches per epoch, with dropout."""
    model = {"architecture": {"key": "dnn", "hidden_units": [8], "dropout": 0.2}, "loss": loss}
    return config(
        folder,
        data={"batch_size": 15, **sections.pop("data", {})},
        model={**model, **sections.pop("model", {})},
        training={"epochs": 2, "report": False, "seed": 2, **sections.pop("training", {})},
        **sections,
    )


PLATEAU = {
    "model": {"lr_schedule": {"key": "plateau", "patience": 1, "factor": 0.5}},
    "training": {"epochs": 8, "early_stopping": {"patience": 2}},
}
RANDOM = {
    "loss": {"key": "gumbel_approx_ndcg", "seed": 5},
    "data": {"max_list_size": 4, "truncation": "random"},
    "features": {"label": "clicked", "positions": "shown"},
    "model": {
        "feature_dropout": 0.2,
        "position_bias": {"key": "additive", "max_position": 4, "dropout": 0.2},
        "lr_schedule": {"key": "cosine", "warmup_steps": 4},
        "optimizer": {"key": "sgd", "learning_rate": 0.1, "momentum": 0.9, "use_ema": True},
    },
    "training": {"precision": "mixed_float16"},
}
STREAMED = {"data": {"memory": 0, "cache": False, "max_list_size": 4, "truncation": "random"}}


def texts(folder, loss, columns=TRIPLET, encoder=TRANSFORMER, **sections):
    """A config of 4 batches per epoch."""
    data = {"validation": "validation.csv", **sections.pop("data", {})}
    return text_config(folder, loss, columns, encoder, data=data, **sections)


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


@TENSORFLOW
@pytest.mark.graph
def test_training_goes_on_from_the_middle_of_an_epoch(folder, tmp_path):
    whole, positions = assert_resumes(features(folder, **PLATEAU), tmp_path, [4])
    assert positions == [(1, 1)]
    assert len(whole.fit.epochs) < 8  # early stopping counts the epochs before


@JAX_SLOW
@pytest.mark.parametrize(
    "sections", [RANDOM, pytest.param(STREAMED, marks=pytest.mark.slow_on("torch"))], ids=["random", "streamed"]
)
def test_features_go_on(sections, folder, tmp_path):
    assert_resumes(features(folder, **sections), tmp_path, [4])


@pytest.mark.slow_on("jax", "torch")
@pytest.mark.parametrize(
    ("loss", "columns", "sections", "batches"),
    [
        (MEMORY, TRIPLET, {"encoder": BAG, "data": {"batching": "no_duplicates"}}, [2]),
        (CROSS, PAIR, {"encoder": BAG, "architecture": "cross_encoder"}, [6]),
        pytest.param(CACHED, TRIPLET, {}, [6], marks=pytest.mark.slow),
    ],
    ids=["memory", "cross_encoder", "grad_cache"],
)
def test_texts_go_on(loss, columns, sections, batches, text_folder, tmp_path):
    assert_resumes(texts(text_folder, loss, columns, **sections), tmp_path, batches)


@TENSORFLOW
@pytest.mark.slow
def test_several_data_sets_go_on(text_folder, tmp_path):
    spec = text_config(text_folder, None, encoder=TRANSFORMER)
    assert_resumes(spec | {"data": {"directory": str(text_folder), "batch_size": 8} | SETS}, tmp_path, [3, 11])


def test_training_that_was_stopped_ends_as_one_that_was_not(folder, tmp_path):
    """From the validation of the first epoch, and from the end of the last one."""
    spec = features(folder)
    whole = run(spec, tmp_path / "whole")
    stopped = {3: Request.CHECKPOINT, 4: RuntimeError("killed")}
    with pytest.raises(RuntimeError, match="killed"):
        run(spec, tmp_path / "killed", stopped)
    first = latest_checkpoint(tmp_path / "killed" / "checkpoints")
    assert first.position == Position(0, 3)
    again = run(spec, tmp_path / "again", resume=first, every="1 epoch")
    assert_equal(again, whole)
    last = latest_checkpoint(again.path / "checkpoints")
    assert last.position == Position(2, 0)
    assert_equal(run(spec, tmp_path / "last", resume=last), whole)


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory, eager):
    """A training of 6 batches."""
    with eager():
        return run(features(folder), tmp_path_factory.mktemp("runs") / "run", every="4 steps", keep=1)


@TENSORFLOW
def test_steps_are_counted_over_epochs_and_the_newest_files_are_kept(folder, tmp_path):
    with pytest.raises(SystemExit) as stop:
        run(
            features(folder), tmp_path / "run", {5: Request.TERMINATE, 6: RuntimeError("late")}, every="4 steps", keep=1
        )
    assert stop.value.code == 143
    assert list(written(tmp_path / "run" / "checkpoints")) == [Position(1, 2)]
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["00001-000000002.safetensors"]


@TENSORFLOW
def test_other_configs_data_models_and_backends_are_refused(trained, folder):
    checkpoint = latest_checkpoint(trained.path / "checkpoints")
    assert checkpoint.position == Position(1, 1)
    may_differ = {"training": {"report": True, "checkpoint": {"every": None}}, "name": "other"}
    checkpoint.check(load_config(features(folder, **may_differ)))
    other = features(folder, training={"epochs": 9}, model={"optimizer": {"key": "sgd", "learning_rate": 0.5}})
    with pytest.raises(
        ConfigError, match=r"of another config: .*optimizer\.key is 'sgd', there 'adam'.*epochs is 9, there 2"
    ):
        checkpoint.check(load_config(other))
    changed = {split: {**facts, "sha256": "0"} for split, facts in trained.experiment.sources.items()}
    with pytest.raises(DataError, match="the data changed since it was written: train has 241 rows now"):
        checkpoint.check_data(changed)
    wide = {"key": "dnn", "hidden_units": [9], "dropout": 0.2}
    with pytest.raises(ConfigError, match=r"of another model: .*kernel has the shape \(.*, 9\), there \(.*, 8\)"):
        checkpoint.restore(prepare(load_config(features(folder, model={"architecture": wide}))).model, [])
    checkpoint.progress.model = "other"
    with pytest.raises(ConfigError, match=r"of another model: its inputs were fitted on other rows\.$"):
        checkpoint.restore(trained.experiment.model, [])
    checkpoint.progress.backend = "jax"
    with pytest.raises(ConfigError, match="written on jax, and this is tensorflow: set KERAS_BACKEND=jax"):
        checkpoint.check(load_config(features(folder)))


ARRAYS = {
    "a/0": np.arange(6, dtype="float32").reshape(2, 3),
    "a/1": np.array(7),
    "b/0": np.zeros((0, 2), "uint32"),
    "b/1": np.array([True, False]),
}


def test_files_are_as_readable_as_others(tmp_path):
    usual = tmp_path / "usual"
    usual.touch()
    write_checkpoint(tmp_path / "a.safetensors", {}, {"x": np.zeros(3, "float32")})
    assert (tmp_path / "a.safetensors").stat().st_mode == usual.stat().st_mode


def test_files_hold_what_was_written(tmp_path):
    path, values = tmp_path / "one.safetensors", {"text": "é", "numbers": [1, 0.1, float("inf"), None]}
    write_checkpoint(path, values, ARRAYS)
    file = CheckpointFile(path)
    file.check()
    assert file.values == values
    assert file.names == sorted(ARRAYS)
    for name, array in ARRAYS.items():
        assert file.shape(name) == array.shape
        assert file.array(name).dtype == array.dtype
        np.testing.assert_array_equal(file.array(name), array)
    assert [file.name for file in tmp_path.iterdir()] == ["one.safetensors"]


def test_every_changed_byte_is_found(tmp_path):
    path = tmp_path / "one.safetensors"
    write_checkpoint(path, {"text": "x" * 20}, ARRAYS)
    whole = path.read_bytes()
    harmless = set()  # bytes that change nothing: padding between header and arrays
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            file = CheckpointFile(path)
            file.check()
            assert file.values == {"text": "x" * 20}
            harmless.add(whole[place])
        except CheckpointError:
            continue
    assert harmless <= {ord(" ")}
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match="damaged"):
            CheckpointFile(path)


def test_damaged_and_foreign_files_are_named_and_the_one_before_is_used(tmp_path, caplog):
    facts = {
        "steps": 3,
        "stopped": False,
        "config": {},
        "sources": {},
        "untrained": {},
        "parts": {},
        "model": "",
        "window_bytes": None,
    }
    good = {"position": [0, 3], "backend": "jax", "versions": {}, **facts}
    assert latest_checkpoint(tmp_path / "none") is None
    write_checkpoint(path_of(tmp_path, Position(0, 3)), good, ARRAYS)
    write_checkpoint(path_of(tmp_path, Position(0, 4)), {**good, "position": [0, -4]}, ARRAYS)
    truncated, foreign = path_of(tmp_path, Position(1, 0)), path_of(tmp_path, Position(2, 0))
    write_checkpoint(truncated, {**good, "position": [1, 0]}, ARRAYS)
    truncated.write_bytes(truncated.read_bytes()[:-1])
    foreign.write_text(json.dumps(good))
    (tmp_path / ".00003-000000000.safetensors.77.safetensors").write_bytes(b"half")
    with caplog.at_level(logging.WARNING):
        assert latest_checkpoint(tmp_path).position == Position(0, 3)
    lines = [record.getMessage() for record in caplog.records]
    assert [line.partition(":")[0] for line in lines] == [
        str(foreign),
        str(truncated),
        str(path_of(tmp_path, Position(0, 4))),
    ]
    assert all(line.endswith("It is not used, but the one before it.") for line in lines)


def test_checkpoint_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(DataError, match=r"none/one.safetensors: cannot be written \(No such file or directory\)\.$"):
        write_checkpoint(tmp_path / "none" / "one.safetensors", {}, ARRAYS)


@TENSORFLOW
def test_windows_of_queries_on_disk_are_those_of_the_checkpoint(folder):
    streamed, whole = (prepare(load_config(features(folder, data=data))) for data in (STREAMED["data"], {}))
    assert whole.window_bytes is None
    whole.keep_windows(None)
    assert streamed.window_bytes == 0
    streamed.keep_windows(123)
    assert streamed.window_bytes == 123
    for experiment, size in ((streamed, None), (whole, 123)):
        with pytest.raises(ConfigError, match=r"^data\.memory: the training queries were .*; give what it was then\.$"):
            experiment.keep_windows(size)
