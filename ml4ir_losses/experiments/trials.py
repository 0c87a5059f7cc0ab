"""Many trainings in one process: data are read once, and a training step is traced once per shape of the model."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ml4ir_losses.config.load import AnyConfig
from ml4ir_losses.evaluation.scoring import QueryMetrics
from ml4ir_losses.experiments.experiment import Experiment, experiment_class
from ml4ir_losses.experiments.fit import fit
from ml4ir_losses.model.state import model_variables

_KEPT = 10  # data sets and models; as many folds are shared


@dataclass(frozen=True)
class Trial:
    """What a training gave.

    Attributes:
        score: the monitored value of the best epoch; None if no epoch had one.
        mode: `max` or `min`: which score is better.
        judged: the values per query of each part that was asked for.
        seconds: the time of training, without reading the data and without evaluation.
        epochs: the number of epochs.
        best_epoch: the epoch (from 0) whose weights were judged.
        parameters: the number of trainable and other weights.
    """

    score: float | None
    mode: str
    judged: dict[str, QueryMetrics]
    seconds: float
    epochs: int
    best_epoch: int | None
    parameters: int


class Workbench:
    """Trains configs one after the other; a result is that of `train` with the same config.

    Configs with the same data share them. Configs that differ in seed, learning rate or number of epochs share the
    traced steps: a fresh model is built for each, and its state is copied into the model that was traced first.
    """

    def __init__(self) -> None:
        self._data: deque[tuple[tuple[Any, ...], Any]] = deque(maxlen=_KEPT)
        self._traced: deque[tuple[str, Any, Any]] = deque(maxlen=_KEPT)

    def prepare(self, config: AnyConfig) -> Experiment:
        """The experiment of a config, as `Experiment.prepare` gives it, with shared data and traced steps.

        It is valid until the next call.

        Raises:
            ConfigError, DataError: one line for what is wrong.
        """
        kind, data = experiment_class(config), self._read(config)
        experiment = kind.prepare(config, data)
        experiment.model = self._share(config, experiment.model, data)
        return experiment

    def _read(self, config: AnyConfig) -> Any:
        kind = experiment_class(config)
        used = (kind, *kind.reads(config))
        known = next((data for reads, data in self._data if reads == used), None)
        if known is None:
            known = kind.read(config)
            self._data.append((used, known))
        return known

    def train(self, config: AnyConfig, callbacks: Sequence[Any] = (), parts: Sequence[str] | None = None) -> Trial:
        """Trains a config and judges the model on parts such as `validation` and `test`.

        Args:
            config: the checked config.
            callbacks: further Keras callbacks.
            parts: the parts; None: all that the config gives.

        Raises:
            ConfigError, DataError: one line for what is wrong.
            RunError: the loss is no longer a number.
            KeyboardInterrupt: training was interrupted.
        """
        experiment = self.prepare(config)
        started = time.perf_counter()
        done = fit(experiment, callbacks=callbacks)
        seconds = time.perf_counter() - started
        if done.interrupted:
            raise KeyboardInterrupt
        monitor, mode = experiment.monitored()
        parts = experiment.evaluated if parts is None else parts
        return Trial(
            None if done.best_epoch is None else done.epochs[done.best_epoch][monitor],
            mode,
            {part: experiment.judge(part) for part in parts},
            seconds,
            len(done.epochs),
            done.best_epoch,
            experiment.model.count_params(),
        )

    def _share(self, config: AnyConfig, fresh: Any, data: Any) -> Any:
        """The model whose steps were traced for such configs, in the state of the fresh one; else the fresh one."""
        key = _traced_settings(config)
        place = next((i for i, (k, d, _) in enumerate(self._traced) if k == key and d is data), None)
        if place is not None:
            traced = self._traced[place][2]
            del self._traced[place]
            if _copy_state(traced, fresh):
                fresh = traced
        self._traced.append((key, data, fresh))  # those not used for longest are dropped
        return fresh


def _traced_settings(config: AnyConfig) -> str:
    """The settings that a traced step depends on: all but those held in variables or read by callbacks."""
    settings: dict[str, Any] = config.model_dump(mode="json")
    for name in ("name", "data", "features", "expected_metrics"):
        settings.pop(name, None)
    training = settings["training"]
    for name in ("seed", "early_stopping"):
        training.pop(name)
    schedule = settings["model"]["lr_schedule"]
    if schedule["key"] in ("constant", "plateau"):
        settings["model"]["optimizer"].pop("learning_rate")
        settings["model"].pop("lr_schedule")
        training.pop("epochs")
    return repr(settings)


def _copy_state(target: Any, source: Any) -> bool:
    """Gives a model the variables of another one and of its optimizer; False if they have other shapes."""
    for model in (target, source):
        model.optimizer.build(model.trainable_variables)
    pairs = [
        (model_variables(target), model_variables(source)),
        (target.optimizer.variables, source.optimizer.variables),
    ]
    if any([v.shape for v in old] != [v.shape for v in new] for old, new in pairs):
        return False
    for old, new in pairs:
        for variable, value in zip(old, new, strict=True):
            variable.assign(value)
    return True
