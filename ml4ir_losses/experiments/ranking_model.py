"""Builds the compiled ranking model of a config, given its fitted inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from ml4ir_losses.config.schema import Config
from ml4ir_losses.core.errors import ConfigError, UserError
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.features.fitted import FittedInput
from ml4ir_losses.model.from_config import model_class
from ml4ir_losses.model.optimizers import make_optimizer
from ml4ir_losses.model.relevance_model import RelevanceModel
from ml4ir_losses.model.size import check_trainable, size_of


def build_from_inputs(config: Config, inputs: Sequence[FittedInput], steps_per_epoch: int = 1) -> RelevanceModel:
    """The compiled model of a config and fitted inputs.

    Raises:
        ConfigError: for invalid parameters, or a model that does not fit into memory.
    """
    kind = model_class(config.model.architecture).for_inputs(inputs, config.model.architecture)
    steps = steps_per_epoch * config.training.epochs

    def build() -> Any:
        names = {"label": config.features.label, "query_id": config.features.query_id}
        return kind(inputs, config.model, precision=config.training.precision, **names)

    try:
        check_trainable(size_of(build), make_optimizer(config.model, steps))
        keras.utils.set_random_seed(config.training.seed)
        model: RelevanceModel = build()
    except ConfigError:
        raise
    except MemoryError:
        raise ConfigError("model: it has more parameters than fit into memory.") from None
    except (UserError, TypeError, ValueError) as error:
        raise ConfigError(f"model: {str(error).strip().splitlines()[0]}") from None
    if config.features.confidence and not any(task[0].takes_confidence for task in model.tasks.values()):
        LOGGER.warning("features.confidence: no loss of this config reads it")
    model.compile_from_spec(total_steps=steps, jit_compile=config.training.jit_compile)
    return model
