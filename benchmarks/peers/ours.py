"""This package on the backend that KERAS_BACKEND names: `tf.function`, `jax.jit`, or eager torch.

Of the peer `ours-xla`: `tf.function` with `jit_compile=True`, as `model.compile(jit_compile=True)` makes it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import keras
import numpy as np
from bench_arrays import Arrays
from bench_cases import Case

from ml4ir_losses import get_loss

BACKEND = keras.backend.backend()
MODES = ("xla",) if sys.argv[1] == "ours-xla" else ({"tensorflow": "graph", "jax": "jit", "torch": "eager"}[BACKEND],)


def versions() -> str:
    library = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}[BACKEND]
    return f"Keras {keras.__version__} on {library} {__import__(library).__version__}"


def step(case: Case, mode: str, given: Arrays) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
    key, params = case.ours
    loss = get_loss(key, **params).get_loss_fn()
    if BACKEND == "tensorflow":
        from peers import tf_steps

        return tf_steps.step(loss, mode, given)
    if BACKEND == "torch":
        import torch
        from peers import torch_steps

        labels = torch.tensor(given.labels)
        return torch_steps.step(lambda scores: loss(labels, scores), given.scores)
    return _jax_step(loss, given)


def _jax_step(loss: keras.losses.Loss, given: Arrays) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
    import jax
    import jax.numpy as jnp

    # Under jit the state of a random generator goes in as an argument.
    state = [] if loss.seed_generator is None else [loss.seed_generator.state]

    def value(scores: jax.Array, labels: jax.Array, values: list[jax.Array]) -> jax.Array:
        with keras.StatelessScope(state_mapping=list(zip(state, values, strict=True))):
            return loss(labels, scores)

    run = jax.jit(jax.value_and_grad(value))
    arrays = jnp.asarray(given.scores), jnp.asarray(given.labels), [variable.value for variable in state]
    return lambda: jax.tree.map(np.asarray, jax.block_until_ready(run(*arrays)))
