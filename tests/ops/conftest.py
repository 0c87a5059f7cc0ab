"""Fixtures: tiles and stripes so small that short lists need several tiles, stripes and calls of the kernel."""

from contextlib import contextmanager

import pytest

from ml4ir_losses.ops import choice, exponential_sums, pairs, piecewise_sums
from ml4ir_losses.ops.kernels import stripes
from ml4ir_losses.ops.kernels.compiling import compiled


@contextmanager
def stripes_of(size, dense=0, tile=8):
    """Stripes of about `size` pairs for batches of more than `dense` pairs; four stripes in a call of the kernel."""
    compiled.cache_clear()
    size = max(size, tile * tile)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stripes, "_DENSE", dense)
        patch.setattr(stripes, "_ONE_STRIPE", dict.fromkeys(stripes._ONE_STRIPE, 0))
        patch.setattr(stripes, "_TILE", tile)
        patch.setattr(stripes, "_PAIRS", dict.fromkeys(stripes._PAIRS, size))
        patch.setattr(stripes, "_CALL", 4 * size)
        patch.setattr(stripes, "_IN_ROWS", dict.fromkeys(stripes._IN_ROWS, size))
        yield
    compiled.cache_clear()


@pytest.fixture
def stripe_size():
    return stripes_of


@pytest.fixture(scope="module")
def small_stripes():
    with stripes_of(160):
        yield


@pytest.fixture
def in_ranking(monkeypatch):
    """Sums in N log N for batches of any size, in blocks so small that short lists have several."""
    monkeypatch.setattr(choice, "_PAIRS_WORTH", dict.fromkeys(choice._PAIRS_WORTH, (-1, 0)))
    for module in (exponential_sums, piecewise_sums):
        monkeypatch.setattr(module, "block_size", lambda documents: 4)
    monkeypatch.setattr(pairs, "_SHORT_REACH", 0)
