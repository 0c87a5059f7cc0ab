"""Fixtures: stripes so small that short lists need several levels, groups and stripes."""

from contextlib import contextmanager

import pytest

from ml4ir_losses.ops import exponential_sums, pairs
from ml4ir_losses.ops.kernels import stripes
from ml4ir_losses.ops.kernels.compiling import compiled


@contextmanager
def stripes_of(pairs, dense=0, narrow=8):
    """Stripes of about `pairs` pairs for batches of more than `dense` pairs; one level for lists up to `narrow`."""
    compiled.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stripes, "_DENSE", dense)
        patch.setattr(stripes, "_ONE_STRIPE", dict.fromkeys(stripes._ONE_STRIPE, 0))
        patch.setattr(stripes, "_NARROW", narrow)
        patch.setattr(stripes, "_PAIRS", dict.fromkeys(stripes._PAIRS, pairs))
        yield
    compiled.cache_clear()


@pytest.fixture
def stripe_size():
    return stripes_of


@pytest.fixture(scope="module")
def small_stripes():
    with stripes_of(160):
        yield


@pytest.fixture(scope="module")
def one_level():
    """Quicker to compile."""
    with stripes_of(160, narrow=64):
        yield


@pytest.fixture
def in_ranking(monkeypatch):
    """Sums in N log N for batches of any size, in blocks so small that short lists have several."""
    monkeypatch.setattr(exponential_sums, "_PAIRS_WORTH", dict.fromkeys(exponential_sums._PAIRS_WORTH, (-1, 0)))
    monkeypatch.setattr(exponential_sums, "_block_size", lambda documents: 4)
    monkeypatch.setattr(pairs, "_SHORT_REACH", 0)
