"""Fixed noise for losses that sample, so that oracles can compute their values."""

import keras
import pytest
from keras import ops

from losses.cases import CASES
from losses.on_jax import compiled  # noqa: F401
from ml4ir_losses.losses.row_queue import RowQueue


def fixed_uniform(shape, minval=0.0, maxval=1.0, dtype=None, seed=None):
    """Replaces `keras.random.uniform` of the shape [S, B, N]: see `families.common.fixed_noise`."""
    samples, rows, places = (ops.arange(size) for size in shape)
    mixed = 89 * samples[:, None, None] + 57 * rows[:, None] + 31 * places + 7
    return (ops.cast(ops.mod(mixed, 256), dtype) + 0.5) / 256


@pytest.fixture(autouse=True)
def fixed_noise(request, monkeypatch):
    """Fixed noise in the tests of a key that samples (`Case.random`)."""
    key = request.node.callspec.params.get("key") if hasattr(request.node, "callspec") else None
    if key in CASES and CASES[key].random:
        monkeypatch.setattr(keras.random, "uniform", fixed_uniform)


@pytest.fixture(autouse=True)
def empty_memory(request, monkeypatch):
    """A loss that remembers (`Case.remembers`) gives at every call the value of the first."""
    key = request.node.callspec.params.get("key") if hasattr(request.node, "callspec") else None
    if key in CASES and CASES[key].remembers:
        monkeypatch.setattr(RowQueue, "active", False)
