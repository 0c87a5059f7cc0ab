"""Optimizers and learning-rate schedules from the config."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from ml4ir_losses.config.schedules import (
    ConstantSchedule,
    CosineSchedule,
    CyclicSchedule,
    ExponentialSchedule,
    OptimizedModel,
    OptimizerConfig,
    PlateauSchedule,
)
from ml4ir_losses.core.errors import ConfigError, did_you_mean, unknown_name
from ml4ir_losses.core.lazy import Tensor

_ALIASES = {"rms_prop": "rmsprop"}
_PARAMETER_ALIASES = {"gradient_clip_value": "clipvalue"}


@keras.saving.register_keras_serializable("ml4ir_losses")
class CyclicLearningRate(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    r"""A learning rate that cycles between two bounds.

    $$lr = lr_0 + (lr_1 - lr_0)\,\max(0, 1 - |t/s - 2c + 1|)\,a,\quad c = \lfloor 1 + t/2s \rfloor$$
    with a = 1 (triangular), 2^{1-c} (triangular2) or γ^t (exponential), t the batch and s the step size.

    Source: Smith, "Cyclical learning rates for training neural networks" (2017); ml4ir.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        maximal_learning_rate: float,
        step_size: int = 10,
        type: str = "triangular",
        gamma: float = 1.0,
    ) -> None:
        super().__init__()
        self.initial_learning_rate = initial_learning_rate
        self.maximal_learning_rate = maximal_learning_rate
        self.step_size = step_size
        self.type = type
        self.gamma = gamma

    def __call__(self, step: Tensor) -> Tensor:
        step = ops.cast(step, "float32")
        cycle = ops.floor(1.0 + step / (2.0 * self.step_size))
        height = ops.maximum(0.0, 1.0 - ops.abs(step / self.step_size - 2.0 * cycle + 1.0))
        if self.type == "triangular2":
            height = height * 2.0 ** (1.0 - cycle)
        elif self.type == "exponential":
            height = height * self.gamma**step
        return self.initial_learning_rate + (self.maximal_learning_rate - self.initial_learning_rate) * height

    def get_config(self) -> dict[str, Any]:
        names = ("initial_learning_rate", "maximal_learning_rate", "step_size", "type", "gamma")
        return {name: getattr(self, name) for name in names}


def learning_rate(config: OptimizedModel, total_steps: int) -> Any:
    """The learning rate or Keras schedule of the config; the plateau schedule is a callback instead."""
    rate, schedule = config.optimizer.learning_rate, config.lr_schedule
    schedules = keras.optimizers.schedules
    if isinstance(schedule, ExponentialSchedule):
        return schedules.ExponentialDecay(rate, schedule.decay_steps, schedule.decay_rate, schedule.staircase)
    if isinstance(schedule, CosineSchedule):
        steps = schedule.decay_steps or max(total_steps - schedule.warmup_steps, 1)
        if schedule.warmup_steps:
            return schedules.CosineDecay(
                0.0, steps, schedule.alpha, warmup_target=rate, warmup_steps=schedule.warmup_steps
            )
        return schedules.CosineDecay(rate, steps, schedule.alpha)
    if isinstance(schedule, CyclicSchedule):
        return CyclicLearningRate(
            schedule.initial_learning_rate,
            schedule.maximal_learning_rate,
            schedule.step_size,
            schedule.type,
            schedule.gamma,
        )
    if not isinstance(schedule, (ConstantSchedule, PlateauSchedule)):
        raise ConfigError(f"model.lr_schedule: no schedule for {schedule!r}.")
    return rate


def make_optimizer(config: OptimizedModel, total_steps: int) -> Any:
    """The Keras optimizer of the config.

    Raises:
        ConfigError: for an optimizer or parameter that Keras does not have.
    """
    kind, params = optimizer_class(config.optimizer)
    try:
        return kind(learning_rate=learning_rate(config, total_steps), **params)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"model.optimizer: {str(error).splitlines()[0]}") from None


def optimizer_class(config: OptimizerConfig) -> tuple[Any, dict[str, Any]]:
    """The optimizer class and its parameters except the learning rate."""
    classes = {
        name.lower(): value
        for name, value in vars(keras.optimizers).items()
        if inspect.isclass(value) and issubclass(value, keras.optimizers.Optimizer) and name != "Optimizer"
    }
    for wrapper in ("lossscaleoptimizer", "multioptimizer"):
        classes.pop(wrapper, None)
    key = _ALIASES.get(config.key, config.key).lower()
    if key not in classes:
        raise ConfigError(f"model.optimizer.key: {unknown_name('optimizer', config.key, sorted(classes))}")
    params = {_PARAMETER_ALIASES.get(n, n): v for n, v in (config.model_extra or {}).items()}
    known = [n for n in inspect.signature(classes[key].__init__).parameters if n not in ("self", "kwargs", "name")]
    for name in params:
        if name not in known:
            raise ConfigError(
                f"model.optimizer.{name}: {key!r} has no such parameter.{did_you_mean(name, known)} "
                f"Allowed: {', '.join(known)}."
            )
        required = inspect.signature(classes[key].__init__).parameters[name].default is not None
        if isinstance(params[name], (str, list, dict)) or (required and params[name] is None):
            raise ConfigError(f"model.optimizer.{name}: must be a number or true or false. Received: {params[name]!r}.")
    return classes[key], params


class Plateau(keras.callbacks.ReduceLROnPlateau):  # type: ignore[misc]
    """Lowers the learning rate when the monitored value no longer improves; goes on from a saved state."""

    saved_as = "plateau"
    _names = ("best", "wait", "cooldown_counter")
    _resumed = False

    def on_train_begin(self, logs: Any = None) -> None:
        """Forgets what it saw, unless it goes on."""
        if not self._resumed:
            super().on_train_begin(logs)

    def saved(self) -> tuple[dict[str, Any], list[Any]]:
        """The best value, and the numbers of epochs it counts."""
        return {name: getattr(self, name) for name in self._names}, []

    def resume(self, values: Mapping[str, Any], arrays: list[Any]) -> None:
        """Takes over what `saved` gave."""
        for name in self._names:
            setattr(self, name, values[name])
        self._resumed = True


def plateau_callback(config: OptimizedModel, monitor: str, mode: str) -> Plateau | None:
    """The callback of `lr_schedule: plateau`, or None."""
    schedule = config.lr_schedule
    if not isinstance(schedule, PlateauSchedule):
        return None
    return Plateau(
        monitor=monitor, mode=mode, factor=schedule.factor, patience=schedule.patience, min_lr=schedule.min_lr
    )
