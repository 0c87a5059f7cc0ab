"""Which cases of a parametrization `make test` runs."""

import pytest


def rest_slow(values, *quick):
    """The values, of which all but the quick ones are for `make test-slow`."""
    assert set(quick) <= set(values)
    return [value if value in quick else as_slow(value) for value in values]


def as_slow(value):
    """A value, or a tuple of several, with the mark."""
    return pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.slow)
