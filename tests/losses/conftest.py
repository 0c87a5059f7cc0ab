"""Losses that sample meet known noise, so that oracles can say their values."""

import keras
import pytest
from keras import ops

from losses.cases import CASES
from losses.on_jax import compiled  # noqa: F401
from ml4ir_losses.losses.row_queue import RowQueue


def known_uniform(shape, minval=0.0, maxval=1.0, dtype=None, seed=None):
    """Stands in for `keras.random.uniform` of the shape [S, B, N]: see `families.common.known_noise`."""
    samples, rows, places = (ops.arange(size) for size in shape)
    mixed = 89 * samples[:, None, None] + 57 * rows[:, None] + 31 * places + 7
    return (ops.cast(ops.mod(mixed, 256), dtype) + 0.5) / 256


@pytest.fixture(autouse=True)
def known_noise(request, monkeypatch):
    """The tests of a key that samples (`Case.random`)."""
    key = request.node.callspec.params.get("key") if hasattr(request.node, "callspec") else None
    if key in CASES and CASES[key].random:
        monkeypatch.setattr(keras.random, "uniform", known_uniform)


@pytest.fixture(autouse=True)
def empty_memory(request, monkeypatch):
    """The functions of a loss that remembers (`Case.remembers`) give at every call what they give at the first."""
    key = request.node.callspec.params.get("key") if hasattr(request.node, "callspec") else None
    if key in CASES and CASES[key].remembers:
        monkeypatch.setattr(RowQueue, "active", False)
