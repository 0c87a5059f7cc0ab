"""Runs that end early: what is left, and how they go on."""

import json
import re
import shutil
import signal

import numpy as np
import pytest

from ml4ir_losses.config.load import load_config
from ml4ir_losses.core import files
from ml4ir_losses.core.errors import ConfigError, DataError, DivergedError, NotWritten, RunError
from ml4ir_losses.core.interrupts import Terminated
from ml4ir_losses.data.sharding import Position
from ml4ir_losses.experiments import run_folder
from ml4ir_losses.experiments import train as training
from ml4ir_losses.experiments.compare import compare
from ml4ir_losses.experiments.experiment import prepare
from ml4ir_losses.experiments.feature_experiment import FeatureExperiment
from ml4ir_losses.experiments.held_folder import HeldFolder
from ml4ir_losses.experiments.run_callbacks import FiniteLoss, RunProgress
from ml4ir_losses.experiments.run_folder import RunFolder
from ml4ir_losses.experiments.run_status import run_status
from ml4ir_losses.experiments.train import train
from ml4ir_losses.experiments.tune import tune
from small import config, write_splits
from small_texts import PAIR, TRIPLET, write_texts
from small_texts import config as text_config

pytestmark = [pytest.mark.backend("tensorflow"), pytest.mark.usefixtures("eager_steps")]
INPUTS = {"inputs": [{"name": "price", "type": "numeric"}]}
SETS = {
    "datasets": {
        "pairs": {"train": "train.csv", "columns": TRIPLET, "loss": "multiple_negatives_ranking"},
        "scores": {"train": "train.csv", "columns": PAIR | {"label": "score"}, "loss": "cosent"},
    },
    "batch_size": 8,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_splits(tmp_path_factory.mktemp("data"))


def small(folder, **sections):
    return config(folder, **{"features": INPUTS, **sections})


def run(raw, path, **options):
    return train(raw, path, progress=False, **options)


def fail(*arguments, **options):
    raise RuntimeError("this must not be called")


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory, eager):
    with eager():
        return run(small(folder, training={"epochs": 3}), tmp_path_factory.mktemp("runs") / "run")


EVERY_EPOCH = {"checkpoint": {"every": "1 epoch"}}


def assert_same_results(found, expected):
    for file in ("metrics.json", "predictions.csv", "history.csv"):
        assert (found.path / file).read_bytes() == (expected.path / file).read_bytes(), file
    for weight, other in zip(found.model.get_weights(), expected.model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, other)


def at_batch(monkeypatch, epoch, batch, action):
    """Does something before a batch is trained."""
    usual = RunProgress.on_train_batch_begin

    def on_train_batch_begin(self, number, logs=None):
        usual(self, number, logs)
        if (self.folder.status.epoch, self.folder.status.batch) == (epoch, batch):
            action()

    monkeypatch.setattr(RunProgress, "on_train_batch_begin", on_train_batch_begin)


def test_finished_run_is_returned_as_it_is(finished, folder, monkeypatch, caplog):
    monkeypatch.setattr(training, "fit", fail)
    caplog.set_level("INFO", "ml4ir_losses")
    again = run(small(folder, training={"epochs": 3}), finished.path, resume=True)
    assert (again.metrics, again.baselines) == (finished.metrics, finished.baselines)
    assert "the run is finished; nothing is left to do" in caplog.text
    with pytest.raises(ConfigError, match="a run never overwrites another"):
        run(small(folder, training={"epochs": 3}), finished.path)


def test_run_that_ended_in_its_evaluation_is_evaluated_without_training(finished, folder, tmp_path, monkeypatch):
    raw = small(folder, training={"epochs": 3})
    with monkeypatch.context() as patch:
        patch.setattr(FeatureExperiment, "evaluate_part", fail)
        with pytest.raises(RuntimeError, match="must not"):
            run(raw, tmp_path / "run")
    status = run_status(tmp_path / "run")
    assert (status.state, status.phase, status.trained) == ("failed", "evaluating", True)
    with pytest.raises(ConfigError, match="Add --resume to go on with it"):
        run(raw, tmp_path / "run")
    monkeypatch.setattr(training, "fit", fail)
    again = run(raw, tmp_path / "run", resume=True)
    assert_same_results(again, finished)
    assert run_status(again.path).state == "finished"


def test_loss_that_is_no_number_names_the_queries_and_keeps_the_best_weights(folder, tmp_path, monkeypatch):
    usual = FiniteLoss.on_train_batch_end

    def on_train_batch_end(self, batch, logs=None):
        usual(self, batch, {"loss": np.nan} if (self._first.epoch, batch) >= (1, 2) else logs)

    monkeypatch.setattr(FiniteLoss, "on_train_batch_end", on_train_batch_end)
    raw = small(folder, training={"epochs": 3})
    with pytest.raises(DivergedError) as error:
        run(raw, tmp_path / "run")
    experiment = prepare(load_config(raw))
    plan = experiment.plan("train")
    queries = experiment.queries["train"].ids[list(plan.batches(1))[2]]
    named = ", ".join(map(repr, queries))
    assert str(error.value) == (
        f"The training loss became nan in epoch 2, batch 3 (queries {named}): lower model.optimizer.learning_rate or "
        "set model.optimizer.clipnorm."
    )
    status = run_status(tmp_path / "run")
    assert (status.state, status.phase, status.epoch) == ("failed", "training", 2)
    assert status.batch <= 4  # it does not wait for the end of the epoch
    assert status.next == (
        f"train in another folder; --set training.initial_model={tmp_path / 'run'} starts from the best weights"
    )
    best = run(small(folder, training={"epochs": 1}), tmp_path / "one")
    for weight, expected in zip(
        training.open_run(tmp_path / "run").model.get_weights(), best.model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(weight, expected)


def test_query_whose_loss_overflows_is_named(folder, tmp_path):
    lines = (folder / "train.csv").read_text().splitlines()
    place = [line.rsplit(",", 1)[0] + ",3e38" if line.startswith("q7,") else line for line in lines]
    (tmp_path / "train.csv").write_text("\n".join(place) + "\n")
    data = {"directory": str(folder), "train": str(tmp_path / "train.csv")}
    with pytest.raises(DivergedError, match=r"in epoch 1, batch \d \(queries .*'q7'") as error:
        run(small(folder, data=data, features={**INPUTS, "weight": "w"}), tmp_path / "run")
    assert str(error.value).count("'q") == 8
    assert run_status(tmp_path / "run").next == "the same --run-dir is free for another try"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("epoch", [1, 2])
def test_signal_ends_a_training_between_batches(folder, tmp_path, monkeypatch, number, epoch, finished):
    raw = small(folder, training={"epochs": 3})
    with monkeypatch.context() as patch:
        at_batch(patch, epoch, 2, lambda: signal.raise_signal(number))
        if number == signal.SIGTERM:
            with pytest.raises(Terminated):
                run(raw, tmp_path / "run")
            assert not (tmp_path / "run" / "metrics.json").exists()
        else:
            assert run(raw, tmp_path / "run").interrupted
            assert json.loads((tmp_path / "run" / "metrics.json").read_text())["interrupted"] is True
    status = run_status(tmp_path / "run")
    name = "SIGTERM" if number == signal.SIGTERM else "Ctrl-C"
    assert status.text.startswith(f"interrupted by {name} while training in epoch {epoch}; go on with: ml4ir-losses ")
    assert (status.batch in (2, 3), status.trained) == (True, False)
    again = run(raw, tmp_path / "run", resume=True)
    assert_same_results(again, finished)


def test_signal_while_data_are_read_leaves_a_free_folder(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "prepare", lambda *arguments: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(Terminated):
        run(small(folder), tmp_path / "run")
    assert run_status(tmp_path / "run").text.startswith(
        "interrupted by SIGTERM while reading; go on with: ml4ir-losses"
    )
    RunFolder(tmp_path / "run")


FILES = [pytest.param(name, marks=pytest.mark.slow) for name in ("history.csv", "predictions.csv")]


@pytest.mark.parametrize("file", ["model.keras", *FILES])
def test_full_disk_ends_a_run_in_one_line_and_it_goes_on_when_there_is_room(folder, tmp_path, monkeypatch, file):
    written = files.write_atomically

    def write(path, *arguments, **options):
        if path.name == file:
            raise NotWritten(f"{path}: cannot be written (No space left on device).")
        written(path, *arguments, **options)

    raw = small(folder, training={"epochs": 1})
    with monkeypatch.context() as patch:
        for module in (files, run_folder):
            patch.setattr(module, "write_atomically", write)
        with pytest.raises(
            RunError, match=rf"^{tmp_path}/run/{file}: cannot be written \(No space left on device\)\.$"
        ):
            run(raw, tmp_path / "run")
    assert "; make room or allow writing there, then: ml4ir-losses train " in run_status(tmp_path / "run").text
    assert run(raw, tmp_path / "run", resume=True).metrics["test"]


def test_damaged_data_met_in_a_later_epoch_end_a_run_in_one_line_and_it_goes_on(folder, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    raw = small(folder, data={"memory": 0, "cache": str(cache)}, training={"epochs": 3, **EVERY_EPOCH})

    def damage():
        for file in cache.rglob("*.bin"):
            file.write_bytes(file.read_bytes()[:-8])

    with monkeypatch.context() as patch:
        at_batch(patch, 3, 1, damage)
        with pytest.raises(DataError, match=r"the encoded data cannot be read .* it is made again\.$"):
            run(raw, tmp_path / "run")
    status = run_status(tmp_path / "run")
    assert (status.state, status.epoch) == ("failed", 3)
    assert status.text.endswith(f" it is made again; {status.next}")
    assert status.next.startswith("mend that, then: ml4ir-losses train ")
    shutil.rmtree(cache)
    again = run(raw, tmp_path / "run", resume=True)
    whole = run(raw, tmp_path / "whole")
    assert_same_results(again, whole)


def test_searches_and_comparisons_refuse_a_second_process(folder, tmp_path):
    raw = small(folder, tune={"training.epochs": {"int": [1, 2]}})
    with HeldFolder(tmp_path / "search", "search", "").held(), pytest.raises(ConfigError, match="is in use by process"):
        tune(raw, tmp_path / "search", trials=1, progress=False)
    with HeldFolder(tmp_path / "runs", "comparison", "").held(), pytest.raises(ConfigError, match="is in use by"):
        compare(raw, ["list_mle"], run_dir=tmp_path / "runs", progress=False)


def test_batches_are_named_from_any_position(folder):
    experiment = prepare(load_config(small(folder)))
    plan = experiment.plan("train")
    for epoch in (0, 3):
        for batch, queries in enumerate(plan.batches(epoch)):
            names = ", ".join(map(repr, experiment.queries["train"].ids[queries]))
            assert experiment.describe_batch(Position(epoch, batch)) == f" (queries {names})"


@pytest.mark.parametrize(
    ("loss", "columns", "sections"),
    [
        ("multiple_negatives_ranking", TRIPLET, {}),
        ("cross_encoder_multiple_negatives_ranking", PAIR, {"architecture": "cross_encoder"}),
        (None, None, {"data": SETS}),
    ],
    ids=["rows", "lists", "data_sets"],
)
def test_batches_of_texts_are_named_by_their_lines(loss, columns, sections, tmp_path):
    raw = text_config(write_texts(tmp_path), loss, columns, **sections)
    if loss is None:
        raw["data"] = {"directory": str(tmp_path), **SETS}
    experiment = prepare(load_config(raw))
    feed, named = experiment._whole_feed("train"), []
    sizes = [len(next(iter(x.values()))) for x, *_ in feed.batches(1)]
    for batch, size in enumerate(sizes):
        text = experiment.describe_batch(Position(1, batch))
        assert (" more)" in text) == (size > 10)
        lines = [int(line) for line in re.findall(r"train\.csv, line (\d+)", text)]
        assert len(lines) == min(size, 10)
        named += lines
    assert set(named) <= set(range(2, 50))
    assert len(set(named)) == (len(named) if loss else len(named) / 2)  # two data sets read the same file
