"""Which cases of a parametrization `make test` runs."""

import keras
import pytest


def rest_slow(values, *quick):
    """The values, of which all but the quick ones are for `make test-slow`."""
    assert set(quick) <= set(values)
    return [value if value in quick else pytest.param(value, marks=pytest.mark.slow) for value in values]


def slow_on_jax(test):
    """Decorates what other tests show on JAX too, where every operation is compiled for every shape."""
    return pytest.mark.slow(test) if keras.backend.backend() == "jax" else test
