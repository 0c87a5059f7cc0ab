"""The choice between pairs one by one and sums over documents in N log N."""

from __future__ import annotations

from typing import Any

from ml4ir_losses.core.lazy import Tensor, keras, ops
from ml4ir_losses.ops.backend import has_accelerator

# So many pairs take as long one by one as the sums in N log N: a number for any batch, and one for each document of it.
_PAIRS_WORTH = {"tensorflow": (2**20, 384), "jax": (2**20, 384), "torch": (2**16, 0), "accelerator": (2**26, 384)}
_LARGEST = 1e15  # squares of larger scores, added up over a list, may overflow


def may_be_ranked(mask: Tensor, dtype: Any) -> bool:
    """False if pairs one by one are known to take less time for a batch of this shape [B, N], or need float64."""
    lists, size = mask.shape
    known = isinstance(lists, int) and isinstance(size, int)
    return keras.backend.standardize_dtype(dtype) == "float32" and (
        not known or _pays(lists * size * size, lists * size)
    )


def is_better_ranked(mask: Tensor, *scores: Tensor) -> Tensor:
    """True if pairs one by one take more time for this batch, a boolean scalar; False for scores that sums overflow on.

    Such scores, or NaN, would turn into NaN, infinity times 0; pairs one by one do not.
    """
    lists, size = (ops.cast(x, "float32") for x in ops.shape(mask))
    documents = ops.sum(ops.cast(mask, "float32"), axis=1)
    pays = _pays(ops.sum(ops.square(documents)), lists * size)
    for x in scores:
        pays = ops.logical_and(pays, ops.all(ops.abs(x) < _LARGEST))
    return pays


def _pays(pairs: Any, documents: Any) -> Any:
    """Whether so many pairs take more time than the sums in N log N over so many documents and padding."""
    base, each = _PAIRS_WORTH["accelerator" if has_accelerator() else keras.backend.backend()]
    return pairs > base + each * documents
