"""Where a run is logged beside its folder: TensorBoard and MLflow."""

from __future__ import annotations

import os
import re
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
from ml4ir_losses.core.log import LOGGER

_PER_REQUEST = 100  # parameters that MLflow takes at once
_LONGEST = 500  # characters of a parameter


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
def tracking(config: AnyConfig, folder: Path) -> Iterator[Tracking]:
    """Logs what is trained within the block to the loggers of `training.loggers`."""
    tracked = Tracking()
    if "tensorboard" in config.training.loggers:
        tracked.callbacks.append(keras.callbacks.TensorBoard(str(folder / "tensorboard"), write_graph=False))
    mlflow = MlflowLogger(config, folder) if "mlflow" in config.training.loggers else None
    if mlflow is None:
        yield tracked
        return
    tracked.callbacks.append(mlflow)
    status = "FAILED"
    try:
        yield tracked
        status = "KILLED" if tracked.interrupted else "FINISHED"
    finally:
        mlflow.finish(tracked.metrics, status)


class MlflowLogger(keras.callbacks.Callback):  # type: ignore[misc]
    """Logs the config as parameters, the values of each epoch and the metrics of the trained model to MLflow.

    The store is `MLFLOW_TRACKING_URI`, or files in `mlruns` of the run folder; the experiment is
    `MLFLOW_EXPERIMENT_NAME` or the config's name. Where the store fails, one warning is logged and training goes on.
    """

    def __init__(self, config: AnyConfig, folder: Path) -> None:
        super().__init__()
        self.config, self.folder = config, folder
        self.client: Any = None
        self.run_id = ""
        self.failed = False

    def on_train_begin(self, logs: Any = None) -> None:
        self._try(self._start)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._try(lambda: self._log(logs or {}, epoch + 1))

    def finish(self, metrics: Mapping[str, Mapping[str, float]], status: str) -> None:
        """Logs the metrics of each part, `test/ndcg_10`, and ends the run."""
        if self.client is None:
            return
        values = {f"{part}/{name}": value for part, by_name in metrics.items() for name, value in by_name.items()}
        self._try(lambda: self._log(values, 0))
        self._try(lambda: self.client.set_terminated(self.run_id, status))

    def _start(self) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Param

        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if uri is None:
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # without it MLflow 3 wants a database
            uri = (self.folder / "mlruns").resolve().as_uri()
        client, name = MlflowClient(uri), os.environ.get("MLFLOW_EXPERIMENT_NAME", self.config.name)
        known = client.get_experiment_by_name(name)
        experiment = client.create_experiment(name) if known is None else known.experiment_id
        self.run_id = client.create_run(experiment, run_name=self.folder.name).info.run_id
        self.client = client
        params = [Param(_allowed(key), str(value)[:_LONGEST]) for key, value in flat_config(self.config).items()]
        for start in range(0, len(params), _PER_REQUEST):
            client.log_batch(self.run_id, params=params[start : start + _PER_REQUEST])

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
