"""Loops that run their steps strictly one after another."""

from __future__ import annotations

from collections.abc import Callable

from ml4ir_losses.lazy import Tensor, keras

State = tuple[Tensor, ...]


def repeat(step: Callable[..., State], times: int, *state: Tensor) -> State:
    """state = step(index, *state) for index = 0 .. times - 1, for use inside a custom gradient.

    Not `ops.fori_loop`: TensorFlow's runs ten steps at a time where it can, with the memory of ten.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        def body(index: Tensor, *state: Tensor) -> State:
            return (index + 1, *step(index, *state))

        return tuple(tf.while_loop(lambda index, *_: index < times, body, (0, *state), parallel_iterations=1)[1:])
    if backend == "jax":
        import jax

        return tuple(jax.lax.fori_loop(0, times, lambda index, state: tuple(step(index, *state)), state))
    for index in range(times):
        state = tuple(step(index, *state))
    return state
