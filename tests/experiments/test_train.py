"""The main job in process: run folder, best weights, warm start, interruption."""

import csv
import json
import logging
import signal
from pathlib import Path

import keras
import numpy as np
import pytest

from ml4ir_losses.config.load import load_config
from ml4ir_losses.core.errors import ConfigError, DataError, DivergedError
from ml4ir_losses.core.files import write_atomically
from ml4ir_losses.data.readers import read_table
from ml4ir_losses.experiments.callbacks import BestWeights
from ml4ir_losses.experiments.evaluate import check, evaluate, predict
from ml4ir_losses.experiments.experiment import prepare
from ml4ir_losses.experiments.feature_experiment import FeatureExperiment
from ml4ir_losses.experiments.run_folder import RunFolder
from ml4ir_losses.experiments.run_status import run_status
from ml4ir_losses.experiments.train import train
from small import config, write_splits

pytestmark = [pytest.mark.backend("tensorflow"), pytest.mark.usefixtures("eager_steps")]
TABLES = {"history.csv", "times.csv", "predictions.csv", "per_query.csv"}
FILES = {
    "config.yaml",
    "data.json",
    "files.json",
    "metrics.json",
    "model.keras",
    "log.txt",
    "status.json",
    ".lock",
} | TABLES


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_splits(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    return train(config(folder, training={"epochs": 6}), tmp_path_factory.mktemp("runs") / "run")


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_run_folder_holds_config_model_metrics_and_predictions(run):
    assert {path.name for path in run.path.iterdir()} == FILES | {"baselines.json", "times.csv"}
    assert json.loads((run.path / "metrics.json").read_text()) == run.metrics
    assert set(run.metrics) == {"validation", "test"}
    assert set(run.metrics["test"]) == {"ndcg_5", "mrr"}
    history = rows(run.path / "history.csv")
    assert [row["epoch"] for row in history] == [str(i + 1) for i in range(6)]
    assert {"loss", "ndcg_5", "val_loss", "val_ndcg_5", "val_mrr"} <= set(history[0])
    assert "trained" in (run.path / "log.txt").read_text()


def test_weights_of_the_best_epoch_are_kept(run):
    best = max(float(row["val_ndcg_5"]) for row in rows(run.path / "history.csv"))
    assert run.metrics["validation"]["ndcg_5"] == pytest.approx(best, abs=1e-6)


def test_trained_model_beats_its_baselines(run):
    assert set(run.baselines) == {"random", "original order", "best feature (price descending)"}
    for baseline in run.baselines.values():
        assert run.metrics["test"]["ndcg_5"] > baseline["ndcg_5"]


def test_predictions_rank_every_document_by_its_logit(run, folder):
    predictions = rows(run.path / "predictions.csv")
    assert list(predictions[0]) == ["query_id", "document_id", "label", "logit", "score", "rank"]
    test = read_table(folder / "test.csv")
    assert [p["document_id"] for p in predictions] == test.strings("doc").tolist()
    assert [float(p["label"]) for p in predictions] == test.numeric("label").tolist()
    for query in {p["query_id"] for p in predictions}:
        documents = [p for p in predictions if p["query_id"] == query]
        by_rank = sorted(documents, key=lambda p: int(p["rank"]))
        assert [int(p["rank"]) for p in by_rank] == list(range(1, len(documents) + 1))
        ordered = [float(p["logit"]) for p in by_rank]
        assert ordered == sorted(ordered, reverse=True)
        assert sum(float(p["score"]) for p in documents) == pytest.approx(1.0, abs=1e-5)


def test_per_query_values_average_to_the_metrics(run):
    per_query = rows(run.path / "per_query.csv")
    for name, value in run.metrics["test"].items():
        counted = [float(row[name]) for row in per_query if row[name]]
        assert np.mean(counted) == pytest.approx(value, abs=1e-6)


@pytest.mark.graph
def test_evaluate_and_predict_give_the_same_from_the_saved_model(run, folder, tmp_path):
    assert evaluate(run.path, str(folder / "test.csv")).metrics == pytest.approx(run.metrics["test"], abs=1e-7)
    assert predict(run.path, str(folder / "test.csv"), tmp_path / "p.csv") == len(rows(run.path / "predictions.csv"))
    assert (tmp_path / "p.csv").read_bytes() == (run.path / "predictions.csv").read_bytes()


@pytest.mark.graph
def test_predict_needs_no_label_column(run, folder, tmp_path):
    lines = [line.split(",") for line in (folder / "test.csv").read_text().splitlines()]
    (tmp_path / "bare.csv").write_text("\n".join(",".join([*line[:2], *line[4:8]]) for line in lines) + "\n")
    predict(run.path, str(tmp_path / "bare.csv"), tmp_path / "p.csv")
    bare, full = rows(tmp_path / "p.csv"), rows(run.path / "predictions.csv")
    assert {p["label"] for p in bare} == {""}
    assert [(p["logit"], p["rank"]) for p in bare] == [(p["logit"], p["rank"]) for p in full]


@pytest.mark.graph
def test_equal_seeds_give_equal_runs(run, folder, tmp_path):
    same = config(folder, training={"epochs": 6})
    again = train(same, tmp_path / "a")
    assert (run.path / "predictions.csv").read_bytes() == (again.path / "predictions.csv").read_bytes()
    other = train(same, tmp_path / "b", seed=4)
    assert (run.path / "predictions.csv").read_bytes() != (other.path / "predictions.csv").read_bytes()


@pytest.mark.graph
def test_predict_accepts_missing_and_empty_labels(run, folder, tmp_path):
    header, *lines = (folder / "test.csv").read_text().splitlines()
    for i, label in enumerate(("", "-1")):
        cells = [line.split(",") for line in lines]
        text = "\n".join([header, *(",".join([*c[:2], label, "", *c[4:]]) for c in cells)])
        (tmp_path / f"{i}.csv").write_text(text + "\n")
        predict(run.path, str(tmp_path / f"{i}.csv"), tmp_path / "p.csv")
        bare, full = rows(tmp_path / "p.csv"), rows(run.path / "predictions.csv")
        assert {p["label"] for p in bare} == {label}
        assert [p["logit"] for p in bare] == [p["logit"] for p in full]


def test_evaluation_needs_only_the_label(folder, tmp_path):
    """Neither auxiliary labels nor weights nor shown ranks: evaluation data seldom have them."""
    sections = {
        "features": {"weight": "w", "positions": "shown"},
        "model": {"aux_losses": [{"key": "sigmoid_cross_entropy", "label": "clicked"}]},
    }
    result = train(config(folder, **sections, training={"epochs": 1}), tmp_path / "run")
    lines = [line.split(",") for line in (folder / "test.csv").read_text().splitlines()]
    (tmp_path / "evaluated.csv").write_text("\n".join(",".join([*c[:3], *c[4:8]]) for c in lines) + "\n")
    assert evaluate(result.path, str(tmp_path / "evaluated.csv")).metrics == pytest.approx(
        result.metrics["test"], abs=1e-6
    )


def test_evaluation_reads_the_format_of_the_config(folder, tmp_path):
    for split in ("train", "validation", "test"):
        (tmp_path / f"{split}.txt").write_text((folder / f"{split}.csv").read_text().replace(",", ";"))
    paths = {split: f"{split}.txt" for split in ("train", "validation", "test")}
    data = {"directory": str(tmp_path), "format": "csv", "options": {"delimiter": ";"}, **paths}
    result = train(config(folder, data=data, training={"epochs": 1}), tmp_path / "run")
    assert evaluate(result.path, str(tmp_path / "test.txt")).metrics == pytest.approx(result.metrics["test"], abs=1e-6)


def test_second_run_in_the_same_folder_is_refused(tmp_path):
    one, two = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run")
    with one.held(), pytest.raises(ConfigError, match=r"run: is in use by process \d+ on .*, since "), two.held():
        pass
    with pytest.raises(ConfigError, match="exists and is not empty"), two.held():
        pass


def test_initial_model_continues_from_the_weights_of_a_run(run, folder, tmp_path):
    sections = {
        "training": {"epochs": 1, "initial_model": str(run.path)},
        "model": {"optimizer": {"key": "sgd", "learning_rate": 1e-9}},
    }
    again = train(config(folder, **sections), tmp_path / "warm")
    assert again.metrics["test"] == pytest.approx(run.metrics["test"], abs=1e-4)
    with pytest.raises(ConfigError, match=r"training.initial_model: .*other inputs or layers"):
        train(config(folder, **{**sections, "model": {"architecture": "linear"}}), tmp_path / "other")
    with pytest.raises(ConfigError, match=r"training.initial_model: .*no such model"):
        train(config(folder, training={"initial_model": str(tmp_path / "nope")}), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_missed_expectations_are_reported_and_the_run_is_kept(folder, tmp_path):
    result = train(config(folder, expected_metrics={"test": {"ndcg_5": 0.999, "mrr": 0.01}}), tmp_path / "run")
    assert len(result.missed) == 1
    assert "test: ndcg_5 is" in result.missed[0]
    assert (result.path / "model.keras").exists()


@pytest.mark.parametrize("after", [0, 2])
def test_interrupted_run_keeps_its_best_weights_and_is_marked(folder, tmp_path, monkeypatch, after):
    log_end = BestWeights.on_epoch_end

    def interrupt(self, epoch, logs=None):
        if epoch == after:
            raise KeyboardInterrupt
        log_end(self, epoch, logs)

    monkeypatch.setattr(BestWeights, "on_epoch_end", interrupt)
    result = train(config(folder, training={"epochs": 50}), tmp_path / "run")
    assert result.interrupted
    metrics = json.loads((result.path / "metrics.json").read_text())
    assert metrics["interrupted"] is True
    if after:
        best = max(float(row["val_ndcg_5"]) for row in rows(result.path / "history.csv"))
        assert metrics["validation"]["ndcg_5"] == pytest.approx(best, abs=1e-6)
    assert {path.name for path in result.path.iterdir()} >= FILES - {"history.csv", "times.csv"}


def best_epochs(values, **rules):
    """(best epoch, its value, epochs after which training stops) for monitored values."""
    model = keras.Sequential([keras.layers.Dense(1)])
    model.build((None, 1))
    callback = BestWeights("val", "max", **rules)
    callback.set_model(model)
    model.stop_training = False
    stops = []
    for epoch, value in enumerate(values):
        callback.on_epoch_end(epoch, {"val": value})
        stops += [epoch] * model.stop_training
    return callback.best_epoch, callback.best, stops


@pytest.mark.parametrize(
    ("place", "left"), [("save_model", FILES), pytest.param("score_queries", FILES, marks=pytest.mark.slow)]
)
def test_interruption_after_training_marks_the_metrics(folder, tmp_path, monkeypatch, place, left):
    from ml4ir_losses.experiments import feature_experiment as module

    owner = RunFolder if place == "save_model" else module
    original = getattr(owner, place)

    def interrupt(*args):
        signal.raise_signal(signal.SIGINT)
        return original(*args)

    monkeypatch.setattr(owner, place, interrupt)
    result = train(config(folder), tmp_path / "run")
    assert result.interrupted
    assert json.loads((result.path / "metrics.json").read_text())["interrupted"] is True
    assert (result.path / "model.keras").exists()


def test_early_stopping_waits_for_patience():
    assert best_epochs([0.5, 0.7, 0.75, 0.6, 0.65], patience=2, min_delta=0.1) == (1, 0.7, [3, 4])
    assert best_epochs([0.5, 0.7, 0.75, 0.6, 0.65]) == (2, 0.75, [])


def test_epochs_before_start_from_epoch_are_best_only_if_training_ends_there():
    assert best_epochs([0.9, 0.5, 0.6, 0.7], start_from_epoch=2) == (3, 0.7, [])
    assert best_epochs([0.5, 0.9], start_from_epoch=2) == (1, 0.9, [])
    assert best_epochs([0.9, 0.5, 0.5, 0.4, 0.3, 0.2], start_from_epoch=3, patience=2) == (3, 0.4, [5])
    assert best_epochs([0.9, 0.5, float("nan"), 0.3], start_from_epoch=2) == (3, 0.3, [])


def test_diverging_run_fails_with_advice_and_frees_its_folder(folder, tmp_path):
    sections = {"model": {"loss": {"softmax_cross_entropy": 1e38}, "optimizer": {"key": "sgd", "learning_rate": 1e38}}}
    for _ in range(2):  # what has neither a model nor a checkpoint does not block the next try
        with pytest.raises(DivergedError, match=r"lower model.optimizer.learning_rate"):
            train(config(folder, training={"epochs": 5}, **sections), tmp_path / "run")
        assert run_status(tmp_path / "run").state == "failed"
    run = train(config(folder, training={"epochs": 1}), tmp_path / "run")
    assert run_status(run.path).state == "finished"
    assert (run.path / "log.txt").read_text().count("Traceback") == 2


def test_config_error_during_training_leaves_no_folder(folder, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise ConfigError("refused")

    monkeypatch.setattr("ml4ir_losses.experiments.train.fit", refuse)
    with pytest.raises(ConfigError, match="refused"):
        train(config(folder), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_failure_after_the_model_was_saved_keeps_the_folder(folder, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("no evaluation")

    monkeypatch.setattr("ml4ir_losses.experiments.feature_experiment.score_queries", fail)
    with pytest.raises(RuntimeError, match="no evaluation"):
        train(config(folder, training={"epochs": 1}), tmp_path / "run")
    assert (tmp_path / "run" / "model.keras").exists()


def test_invalid_labels_are_reported_before_training(folder, tmp_path):
    with pytest.raises(DataError, match=r"train.csv \(train\), column 'label': 'rank_one_listnet' takes labels from 0"):
        train(config(folder, model={"loss": "rank_one_listnet"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("limit", [{}, {"min_label": -100.0}], ids=["default", "min-label"])
def test_negative_labels_of_a_teacher_are_documents(folder, tmp_path, limit):
    """Labels shifted by -5 with the gain of y: the same order of documents, so the same reciprocal ranks."""
    shifted = tmp_path / "shifted"
    shifted.mkdir()
    for split in ("train", "validation", "test"):
        header, *lines = (folder / f"{split}.csv").read_text().splitlines()
        cells = [line.split(",") for line in lines]
        moved = [",".join([*c[:2], str(int(c[2]) - 5), *c[3:]]) for c in cells]
        (shifted / f"{split}.csv").write_text("\n".join([header, *moved]) + "\n")
    loss = {"key": "aux_softmax_cross_entropy", **limit}
    metrics = [{"key": "mrr", "relevance_threshold": -4.0}]
    run = train(config(shifted, model={"loss": loss, "metrics": metrics}), tmp_path / "run")
    loss = {"key": "aux_softmax_cross_entropy"}
    plain = train(config(folder, model={"loss": loss, "metrics": ["mrr"]}), tmp_path / "plain")
    assert run.metrics["test"]["mrr"] == pytest.approx(plain.metrics["test"]["mrr"], abs=1e-6)
    best = max(float(row["val_mrr"]) for row in rows(run.path / "history.csv"))
    assert run.metrics["validation"]["mrr"] == pytest.approx(best, abs=1e-6)


def test_dropped_documents_are_reported(folder, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "ml4ir_losses"):
        train(config(folder, data={"max_list_size": 4, "truncation": "random"}, training={"epochs": 1}), tmp_path / "r")
    messages = [record.getMessage() for record in caplog.records]
    assert any(m.startswith("train: ") and "(data.truncation: random)" in m for m in messages)
    assert any(m.startswith("test: ") and "(data.truncation: first)" in m for m in messages)


@pytest.fixture
def leaky(folder):
    """A config whose test split is its training split, and one of whose inputs is the label."""
    raw = config(folder, data={"test": "train.csv"}, training={"epochs": 1})
    raw["features"]["inputs"].append({"name": "label", "type": "numeric"})
    return raw


def test_findings_are_warnings_or_errors_as_asked(leaky, tmp_path, caplog):
    lines = check(leaky)["findings"]
    assert [line.rpartition(" ")[2] for line in lines] == ["[label_leak]", "[shared_queries]"]
    for strict in (check, lambda raw, strict: train(raw, tmp_path / "none", strict=strict)):
        with pytest.raises(DataError, match=r"^2 findings \(strict\): train: the input 'label' equals the label"):
            strict(leaky, strict=True)
    assert not (tmp_path / "none").exists()
    with caplog.at_level(logging.WARNING, "ml4ir_losses"):
        train(leaky, tmp_path / "run")
    assert [record.getMessage() for record in caplog.records] == lines
    assert all(line in (tmp_path / "run" / "log.txt").read_text() for line in lines)


def test_accepted_findings_are_left_out(leaky):
    leaky["data"]["accept"] = ["shared_queries", "label_leak"]
    assert check(leaky, strict=True)["findings"] == []


def test_generated_search_log_has_no_findings():
    quickstart = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
    assert FeatureExperiment.read(load_config(quickstart, ["data.options.queries=300"])).findings == []


def test_one_file_is_split_trained_on_and_evaluated(folder, tmp_path):
    one = {"train": None, "validation": None, "test": None, "path": "train.csv"}
    raw = config(folder, data=one | {"split": {"validation": 0.2, "test": 0.3}}, training={"epochs": 1})
    summary = check(raw)
    assert {split: sizes["queries"] for split, sizes in summary["splits"].items()} == {
        "train": 20, "validation": 8, "test": 12
    }  # fmt: skip
    assert summary["findings"] == []
    run = train(raw, tmp_path / "files", progress=False)
    assert set(run.metrics) == {"validation", "test"}
    again = train(raw, tmp_path / "memory", data=read_table(folder / "train.csv"), progress=False)
    assert again.metrics == run.metrics
    described = json.loads((run.path / "data.json").read_text())
    assert {split: value["sources"] for split, value in described.items()} == {
        split: [str(folder / "train.csv")] for split in ("train", "validation", "test")
    }
    assert evaluate(run.path, str(folder / "test.csv")).metrics


def test_check_returns_sizes_without_training(folder):
    summary = check(config(folder, data={"max_list_size": 4}))
    assert summary["findings"] == []
    assert all(sizes["documents per second"] > 0 for sizes in summary["splits"].values())
    assert summary["splits"]["train"]["queries"] == 40
    assert summary["splits"]["train"]["longest"] <= 9
    assert summary["splits"]["train"]["dropped"] > 0
    assert summary["features"] == 4
    assert summary["parameters"] > 100


def test_run_never_overwrites_another(run):
    with pytest.raises(ConfigError, match="exists and is not empty"):
        RunFolder(run.path)


def test_default_run_folders_differ(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = RunFolder.named("x")
    first.path.mkdir(parents=True)
    assert RunFolder.named("x").path != first.path
    assert first.path.parent.name == "runs"


def test_files_are_written_atomically(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail(temporary):
        temporary.write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("jit", [False, True])
def test_batches_have_few_shapes_only_where_every_shape_is_compiled(folder, jit):
    numbers = {"inputs": [{"name": "price", "type": "numeric"}]}  # strings cannot be compiled
    spec = config(folder, features=numbers, training={"jit_compile": jit, "epochs": 7})
    experiment = prepare(load_config(spec))
    epochs = {split: experiment.plan(split).compiled_epochs for split in ("train", "validation", "test")}
    assert list(epochs.values()) == ([7, 7, 1] if jit else [None, None, None])
