"""The section `training`."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from ml4ir_losses.config.base import Strict
from ml4ir_losses.config.distribution import Distribution, Mirrored, MultiWorker, OneDevice, RayTrain


def split_interval(every: str) -> tuple[int, Literal["epoch", "step", "minute"]]:
    """An interval such as `1 epoch`, `500 steps` or `5 minutes` as its number and unit.

    Raises:
        ValueError: for anything else.
    """
    match = re.fullmatch(r"\s*([1-9]\d*)\s+(epoch|step|minute)s?\s*", every)
    if match is None:
        raise ValueError("an interval such as 1 epoch, 500 steps or 5 minutes is needed")
    return int(match[1]), match[2]  # type: ignore[return-value]


def _interval(every: str) -> str:
    split_interval(every)
    return every


class CheckpointConfig(Strict):
    """Checkpoints, from which a run that was killed goes on."""

    every: Annotated[str, AfterValidator(_interval)] | None = Field(
        "5 minutes", description="1 epoch, 500 steps or 5 minutes; null: no checkpoints"
    )
    keep: int = Field(2, ge=1, description="number of checkpoints that are kept")


class EarlyStopping(Strict):
    """Early stopping."""

    monitor: str | None = Field(None, description="val_<metric>; the first metric if omitted")
    patience: int = Field(10, ge=1)
    min_delta: float = Field(0.0, ge=0)
    start_from_epoch: int = Field(0, ge=0, description="number of initial epochs that cannot be the best")


Logger = Literal["csv", "tensorboard", "mlflow"]


class TrainingConfig(Strict):
    """Epochs, early stopping, seed, initial model, precision, checkpoints and distribution."""

    epochs: int = Field(50, ge=1)
    early_stopping: EarlyStopping | None = None
    seed: int = Field(1, ge=0, lt=2**32)
    initial_model: str | None = Field(None, description="a run folder or .keras file to start from")
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    jit_compile: bool | Literal["auto"] = "auto"
    loggers: list[Logger] = Field(["csv"], description="where epochs are logged; history.csv is always written")
    report: bool = Field(True, description="write report.html and plots/ into the run folder")
    checkpoint: CheckpointConfig = Field(default_factory=CheckpointConfig)
    distribution: Distribution = Field(default_factory=OneDevice)

    @model_validator(mode="after")
    def _check_steps(self) -> Self:
        if not isinstance(self.distribution, (Mirrored, MultiWorker, RayTrain)):
            return self
        strategy = self.distribution.strategy
        if self.jit_compile is True:
            raise ValueError(
                f"jit_compile: XLA cannot compile a step of the strategy {strategy}; leave it at auto, or use "
                "data_parallel on JAX"
            )
        if self.precision == "mixed_float16":
            # Each device leaves out a step whose own gradients overflow, and the others wait for it for ever.
            raise ValueError(
                f"precision: the devices of the strategy {strategy} do not agree on the loss scale of mixed_float16; "
                "use mixed_bfloat16"
            )
        return self
