"""Where a run is logged beside its folder: TensorBoard and MLflow."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras

from ml4ir_losses.config.load import AnyConfig, flat_config
from ml4ir_losses.core.errors import ConfigError
from ml4ir_losses.core.files import read_json, write_text
from ml4ir_losses.core.log import LOGGER

_PER_REQUEST = 100  # parameters that MLflow takes at once
_LONGEST = 500  # characters of a parameter
_MLFLOW = "mlflow.json"  # the id of the MLflow run


def check_loggers(config: AnyConfig) -> None:
    """Raises `ConfigError` where the package of a logger is not installed."""
    for logger in config.training.loggers:
        if logger != "csv" and find_spec(logger) is None:  # csv is history.csv, which is always written
            raise ConfigError(f"training.loggers: {logger} is not installed: pip install 'ml4ir-losses[loggers]'")


@dataclass
class Tracking:
    """The loggers of a run: Keras callbacks, and the metrics of the trained model, set when it is evaluated."""

    callbacks: list[Any] = field(default_factory=list)
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    interrupted: bool = False


@contextmanager
def tracking(config: AnyConfig, folder: Path, resume: bool = False) -> Iterator[Tracking]:
    """Logs what is trained within the block to the loggers of `training.loggers`.

    With `resume` the loggers go on with what the run logged before, and do not log an epoch a second time.
    """
    tracked = Tracking()
    if "tensorboard" in config.training.loggers:
        tracked.callbacks.append(TensorBoardLogger(folder / "tensorboard", resume))
    mlflow = MlflowLogger(config, folder, resume) if "mlflow" in config.training.loggers else None
    if mlflow is None:
        yield tracked
        return
    tracked.callbacks.append(mlflow)
    status = "FAILED"
    try:
        yield tracked
        status = "KILLED" if tracked.interrupted else "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        mlflow.finish(tracked.metrics, status)


class TensorBoardLogger(keras.callbacks.TensorBoard):  # type: ignore[misc]
    """Logs the values of each epoch to TensorBoard, each epoch once.

    Args:
        folder: of the event files.
        resume: goes on after the epochs that the files hold; else they are removed.
    """

    def __init__(self, folder: Path, resume: bool = False) -> None:
        if not resume:
            shutil.rmtree(folder, ignore_errors=True)  # of a try that left nothing to go on from
        super().__init__(str(folder), write_graph=False)
        self.last_epoch = _last_step(folder / "train", "epoch_")
        self.last_test = _last_step(folder / "validation", "evaluation_")

    def on_test_end(self, logs: Any = None) -> None:
        super().on_test_end(logs if int(self.model.optimizer.iterations) > self.last_test else {})

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch > self.last_epoch:
            super().on_epoch_end(epoch, logs)
            for writer in (self._train_writer, self._val_writer):
                writer.flush()  # before a checkpoint is written that comes after this epoch


def _last_step(folder: Path, prefix: str) -> int:
    """The last step of the values in the event files of a folder whose names start so; -1 if there are none."""
    if not folder.is_dir():
        return -1
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    tags = [tag for tag in events.Tags()["tensors"] if tag.startswith(prefix)]
    return max((event.step for tag in tags for event in events.Tensors(tag)), default=-1)


class MlflowLogger(keras.callbacks.Callback):  # type: ignore[misc]
    """Logs the config as parameters, the values of each epoch and the metrics of the trained model to MLflow.

    The store is `MLFLOW_TRACKING_URI`, or files in `mlruns` of the run folder; the experiment is
    `MLFLOW_EXPERIMENT_NAME` or the config's name. Where the store fails, one warning is logged and training goes on.

    Args:
        config: the config.
        folder: the run folder, which keeps the id of the MLflow run.
        resume: goes on with that MLflow run.
    """

    def __init__(self, config: AnyConfig, folder: Path, resume: bool = False) -> None:
        super().__init__()
        self.config, self.folder = config, folder
        self.client: Any = None
        self.run_id = ""
        self.logged = 0  # epochs
        self.failed = False
        self._try(lambda: self._start(resume))

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        if epoch >= self.logged:
            self._try(lambda: self._log(logs or {}, epoch + 1))

    def finish(self, metrics: Mapping[str, Mapping[str, float]], status: str) -> None:
        """Logs the metrics of each part, `test/ndcg_10`, and ends the run."""
        if self.client is None:
            return
        values = {f"{part}/{name}": value for part, by_name in metrics.items() for name, value in by_name.items()}
        self._try(lambda: self._log(values, 0))
        self._try(lambda: self.client.set_terminated(self.run_id, status))

    def _start(self, resume: bool) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Param

        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if uri is None:
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # without it MLflow 3 wants a database
            uri = (self.folder / "mlruns").resolve().as_uri()
        client = MlflowClient(uri)
        if not (resume and self._goes_on(client)):
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", self.config.name)
            experiment = client.get_experiment_by_name(name)
            place = client.create_experiment(name) if experiment is None else experiment.experiment_id
            self.run_id = client.create_run(place, run_name=self.folder.name).info.run_id
            write_text(self.folder / _MLFLOW, json.dumps({"run_id": self.run_id}) + "\n")
        self.client = client
        known = client.get_run(self.run_id).data.params  # those of a run that goes on cannot be changed
        values = {_allowed(key): str(value)[:_LONGEST] for key, value in flat_config(self.config).items()}
        params = [Param(key, value) for key, value in values.items() if key not in known]
        for start in range(0, len(params), _PER_REQUEST):
            client.log_batch(self.run_id, params=params[start : start + _PER_REQUEST])

    def _goes_on(self, client: Any) -> bool:
        """Goes on with the MLflow run of the folder; False if there is none."""
        run_id = (read_json(self.folder / _MLFLOW) or {}).get("run_id")
        if not isinstance(run_id, str):
            return False
        client.update_run(run_id, status="RUNNING")
        self.run_id = run_id
        self.logged = max((point.step for point in client.get_metric_history(run_id, "loss")), default=0)
        return True

    def _log(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(_allowed(name), float(value), now, step) for name, value in values.items()]
        if metrics:
            self.client.log_batch(self.run_id, metrics=metrics)

    def _try(self, action: Callable[[], None]) -> None:
        """Logs one warning for the first failure, after which nothing more is sent."""
        if self.failed:
            return
        try:
            action()
        except Exception as error:
            self.failed = True
            LOGGER.warning(
                "MLflow: %s; this run is not logged there any more.", next(iter(str(error).splitlines()), error)
            )


def _allowed(name: str) -> str:
    """A name of characters that MLflow allows."""
    return re.sub(r"[^\w\-. :/]", "_", name)
