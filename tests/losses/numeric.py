"""Values and gradients as NumPy arrays on whichever backend is active."""

from functools import partial

import keras
import numpy as np
from keras import ops

BACKEND = keras.backend.backend()
DOUBLE = BACKEND != "jax"  # JAX computes in float32 unless told otherwise


def values(tensor):
    return np.asarray(ops.convert_to_numpy(tensor), dtype="float64")


def compiled_on_jax(function):
    """The function, compiled on JAX, where running operation by operation takes ten times as long for every shape."""
    if BACKEND != "jax":
        return function
    import jax

    return jax.jit(function)


def gradient(function, x):
    """d Σ function(x) / dx."""
    return value_and_gradient(function, x)[1]


def value_and_gradient(function, x):
    """function(x) and d Σ function(x) / dx; on JAX by `function.both`, if it exists (`cases.pure`)."""
    if BACKEND == "jax":
        both = getattr(function, "both", partial(with_slopes, function))
        return tuple(map(values, both(ops.convert_to_tensor(x))))
    if BACKEND == "tensorflow":
        import tensorflow as tf

        x = tf.convert_to_tensor(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = function(x)
            total = tf.reduce_sum(value)
        return values(value), values(tape.gradient(total, x))
    x = ops.convert_to_tensor(x).requires_grad_()
    value = function(x)
    value.sum().backward()
    return values(value.detach()), values(x.grad.detach())


def with_slopes(function, x):
    """function(x) and its gradient on JAX, also while tracing."""
    import jax

    value, pull_back = jax.vjp(function, x)
    return value, pull_back(ops.ones_like(value))[0]


def central_differences(function, x, step=1e-5, independent=False):
    """d Σ function(x) / dx on NumPy arrays; with `independent` rows, one step moves all rows at once."""
    if independent:
        slopes = np.zeros_like(x)
        for place in np.ndindex(x.shape[1:]):  # all rows at once
            nudge = np.zeros_like(x)
            nudge[:, *place] = step
            slopes[:, *place] = (function(x + nudge) - function(x - nudge)) / (2 * step)
        return slopes
    slopes = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        nudge = np.zeros_like(x)
        nudge[place] = step
        slopes[place] = (np.sum(function(x + nudge)) - np.sum(function(x - nudge))) / (2 * step)
    return slopes


def assert_close(actual, expected, *, double=1e-9, single=2e-5, scale=None):
    """Equal to the precision of the backend: `double` where it computes in float64, else `single`.

    The tolerance is relative to `scale`, the largest number that takes part.
    """
    expected = np.asarray(expected, dtype="float64")
    scale = max(1.0, float(np.max(np.abs(expected), initial=0.0)) if scale is None else scale)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=scale * (double if DOUBLE else single))
