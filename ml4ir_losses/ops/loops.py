"""What a custom gradient with a loop inside needs."""

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


def detached(x: Tensor) -> Tensor:
    """x as the body of a custom gradient should take it: TensorFlow's tapes record in there too, and keep it all."""
    if keras.backend.backend() != "tensorflow":
        return x
    import tensorflow as tf

    # Not `stop_gradient`, which tapes record; whole numbers they do not follow.
    return tf.bitcast(tf.bitcast(x, tf.int64 if x.dtype == tf.float64 else tf.int32), x.dtype)
