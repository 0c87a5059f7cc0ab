"""Optimizer and learning-rate schedules of a model section."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ml4ir_losses.config.base import Strict, or_string


class OptimizerConfig(BaseModel):
    """A Keras optimizer; its other parameters are given beside the key."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)
    key: str = "adam"
    learning_rate: float = Field(1e-3, gt=0)


class ConstantSchedule(Strict):
    """A constant learning rate."""

    key: Literal["constant"]


class ExponentialSchedule(Strict):
    """The learning rate times decay_rate ^ (batch / decay_steps)."""

    key: Literal["exponential"]
    decay_steps: int = Field(1_000, ge=1)
    decay_rate: float = Field(0.96, gt=0)
    staircase: bool = False


class CosineSchedule(Strict):
    """Half a cosine down to alpha times the learning rate, after a linear warm-up."""

    key: Literal["cosine"]
    decay_steps: int | None = Field(None, ge=1, description="the whole training if omitted")
    alpha: float = Field(0.0, ge=0, le=1, description="final learning rate as a fraction of the initial one")
    warmup_steps: int = Field(0, ge=0)


class PlateauSchedule(Strict):
    """The learning rate times factor if the monitored value has not improved for `patience` epochs."""

    key: Literal["plateau"]
    factor: float = Field(0.5, gt=0, lt=1)
    patience: int = Field(5, ge=1)
    min_lr: float = Field(0.0, ge=0)


class CyclicSchedule(Strict):
    """A learning rate that cycles between two bounds; replaces that of the optimizer."""

    key: Literal["cyclic"]
    type: Literal["triangular", "triangular2", "exponential"] = "triangular"
    initial_learning_rate: float = Field(1e-3, gt=0)
    maximal_learning_rate: float = Field(1e-2, gt=0)
    step_size: int = Field(10, ge=1, description="number of batches per half cycle")
    gamma: float = Field(1.0, gt=0, le=1)


Schedule = Annotated[
    ConstantSchedule | ExponentialSchedule | CosineSchedule | PlateauSchedule | CyclicSchedule,
    Field(discriminator="key"),
]


class OptimizedModel(Strict):
    """Optimizer and learning-rate schedule of a model."""

    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig, json_schema_extra=or_string)
    lr_schedule: Schedule = Field(default_factory=lambda: ConstantSchedule(key="constant"), json_schema_extra=or_string)

    @field_validator("optimizer", "lr_schedule", mode="before")
    @classmethod
    def _expand_key(cls, value: Any) -> Any:
        return {"key": value} if isinstance(value, str) else value
