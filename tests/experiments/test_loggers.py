"""`training.loggers`: TensorBoard and MLflow beside history.csv."""

import json

import pytest

from ml4ir_losses.config.load import load_config
from ml4ir_losses.core.errors import ConfigError
from ml4ir_losses.experiments import loggers
from ml4ir_losses.experiments.callbacks import EpochNumber
from ml4ir_losses.experiments.train import train
from small import config, write_splits

pytestmark = pytest.mark.usefixtures("eager_steps")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """No tracking server, and no message to MLflow's makers."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")


def small_config(tmp_path, *names):
    inputs = [{"name": "price", "type": "numeric"}]
    training = {"epochs": 2, "loggers": list(names)}
    return config(write_splits(tmp_path), features={"inputs": inputs}, training=training)


def test_tensorboard_and_mlflow_hold_what_history_holds(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    mlflow = pytest.importorskip("mlflow")
    run = train(small_config(tmp_path, "csv", "tensorboard", "mlflow"), tmp_path / "run", progress=False)
    header, *rows = [line.split(",") for line in (run.path / "history.csv").read_text().splitlines()]
    column = [float(row[header.index("val_ndcg_5")]) for row in rows]

    found = events.EventAccumulator(str(run.path / "tensorboard" / "validation")).Reload()
    assert "epoch_ndcg_5" in found.Tags()["tensors"]
    assert len(found.Tensors("epoch_ndcg_5")) == 2

    client = mlflow.MlflowClient((run.path / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("small")
    (logged,) = client.search_runs([experiment.experiment_id])
    assert logged.info.status == "FINISHED"
    assert logged.info.run_name == "run"
    assert logged.data.params["model.loss"] == "softmax_cross_entropy"
    assert logged.data.params["features.inputs.0.name"] == "price"
    metrics = json.loads((run.path / "metrics.json").read_text())
    assert logged.data.metrics["test/ndcg_5"] == pytest.approx(metrics["test"]["ndcg_5"])
    values = client.get_metric_history(logged.info.run_id, "val_ndcg_5")
    assert [(point.step, point.value) for point in values] == [(1, column[0]), (2, column[1])]


def test_a_store_that_fails_does_not_end_the_training(tmp_path, monkeypatch, caplog):
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(tmp_path / "test.csv" / "mlruns"))  # below a file
    run = train(small_config(tmp_path, "mlflow"), tmp_path / "run", progress=False)
    assert run.metrics
    assert caplog.text.count("this run is not logged there any more") == 1


@pytest.mark.backend("tensorflow")
def test_loggers_of_a_run_that_goes_on_repeat_no_epoch(tmp_path, monkeypatch):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    mlflow = pytest.importorskip("mlflow")
    raw = small_config(tmp_path, "tensorboard", "mlflow")
    raw["training"] |= {"epochs": 3, "checkpoint": {"every": "1 epoch"}}

    def fail(self, epoch, logs=None):
        if epoch == 2:
            raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(EpochNumber, "on_epoch_end", fail)
        with pytest.raises(ZeroDivisionError):
            train(raw, tmp_path / "run", progress=False)
    max((tmp_path / "run" / "checkpoints").iterdir()).unlink()  # so that the second epoch is trained again
    train(raw, tmp_path / "run", resume=True, progress=False)

    client = mlflow.MlflowClient((tmp_path / "run" / "mlruns").as_uri())
    (logged,) = client.search_runs([client.get_experiment_by_name("small").experiment_id])
    assert logged.info.status == "FINISHED"
    assert [point.step for point in client.get_metric_history(logged.info.run_id, "loss")] == [1, 2, 3]
    for split, tag in (("train", "epoch_loss"), ("validation", "evaluation_loss_vs_iterations")):
        found = events.EventAccumulator(str(tmp_path / "run" / "tensorboard" / split)).Reload()
        steps = [event.step for event in found.Tensors(tag)]
        assert len(steps) == len(set(steps)) == 3


def begin_and_fail(checked, folder):
    with loggers.tracking(checked, folder) as tracked:
        tracked.callbacks[0].on_train_begin()
        raise ZeroDivisionError


def test_a_run_that_fails_is_marked_as_failed(tmp_path):
    mlflow = pytest.importorskip("mlflow")
    checked = load_config(small_config(tmp_path, "mlflow"))
    with pytest.raises(ZeroDivisionError):
        begin_and_fail(checked, tmp_path / "run")
    client = mlflow.MlflowClient((tmp_path / "run" / "mlruns").as_uri())
    (logged,) = client.search_runs([client.get_experiment_by_name("small").experiment_id])
    assert logged.info.status == "FAILED"


@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_missing_package_is_named_before_anything_starts(tmp_path, monkeypatch, name):
    monkeypatch.setattr(loggers, "find_spec", lambda package: None)
    with pytest.raises(ConfigError, match=rf"{name} is not installed: pip install 'ml4ir-losses\[loggers\]'"):
        train(small_config(tmp_path, name), tmp_path / "run")
    assert not (tmp_path / "run").exists()
