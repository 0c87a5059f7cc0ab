"""The state of a model in training: its variables, those of its optimizer and metrics, and random numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.ops.backend import is_backend


def model_variables(model: Any) -> list[Any]:
    """The variables of a model without those of its metrics: weights, states of random numbers, memories of losses."""
    metrics = {id(variable) for variable in model.metrics_variables}
    return [variable for variable in model.variables if id(variable) not in metrics]


def build_variables(model: Any, dataset: Any) -> None:
    """Creates the variables that Keras creates at the first batch of `fit`: those of the optimizer and the metrics.

    Args:
        model: the compiled model.
        dataset: a `tf.data.Dataset` of batches as `fit` takes them.
    """
    # TensorFlow traces any shape. What `fit` calls on JAX and torch, and here on all, computes shapes alone.
    batch = dataset.element_spec if is_backend("tensorflow") else next(iter(dataset))
    model._symbolic_build(data_batch=batch if is_backend("tensorflow") else keras.tree.map_structure(np.asarray, batch))


def config_digest(model: Any) -> str:
    """The SHA-256 of what a model is built from, its fitted inputs or its vocabulary among it."""
    config = _without_names(keras.saving.serialize_keras_object(model.get_config()))
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def _without_names(config: Any) -> Any:
    """The config without names: Keras numbers the layers of a process."""
    if isinstance(config, dict):
        return {key: _without_names(value) for key, value in config.items() if key != "name"}
    return [_without_names(value) for value in config] if isinstance(config, list | tuple) else config


def values_of(variables: Sequence[Any]) -> list[Array]:
    """The values of variables as NumPy arrays."""
    return [np.asarray(ops.convert_to_numpy(variable)) for variable in variables]


def synchronize(model: Any) -> None:
    """Makes the variables of a model in `fit` current: on JAX a training step keeps their values to itself."""
    if is_backend("jax"):
        model.jax_state_sync()


def random_state() -> list[Array]:
    """The state of the random numbers that are in no variable: those of dropout on torch."""
    if not is_backend("torch"):
        return []
    import torch

    return [state.cpu().numpy() for state in (torch.get_rng_state(), *torch.cuda.get_rng_state_all())]


def seed_random_state(seed: int, epoch: int) -> None:
    """Begins the random numbers of an epoch that are in no variable; torch's loaders of data draw some of them, too."""
    if is_backend("torch"):
        import torch

        torch.manual_seed(int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0]))


def set_random_state(states: Sequence[Array]) -> None:
    """Restores a `random_state`."""
    if not states:
        return
    import torch

    cpu, *gpus = (torch.tensor(state) for state in states)
    torch.set_rng_state(cpu)
    torch.cuda.set_rng_state_all(gpus)
