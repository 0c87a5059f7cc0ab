"""Orders and ranks: ties keep their order, padding comes last."""

from __future__ import annotations

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.ops.backend import ascending_order, inverse_permutation, is_portable


def descending_order(keys: Tensor, mask: Tensor) -> Tensor:
    """Indices [B, N] that sort `keys` in descending order; ties keep their order, masked documents come last."""
    # XLA sorts -0.0 before 0.0, which would reorder ties, and simplifies x + 0.0 to x.
    ascending = ops.where(mask, ops.where(keys == 0, 0.0, -keys), float("inf"))
    return ascending_order(ops.stop_gradient(ascending))


def inverse_order(order: Tensor) -> Tensor:
    """The inverse permutation of each row: the 0-based place of each document in the order, [B, N] int32."""
    if is_portable():
        return ops.cast(ops.argsort(ops.cast(order, "float32"), axis=-1), "int32")
    rows, size = ops.shape(order)
    first = size * ops.arange(rows, dtype="int32")[:, None]
    places = ops.reshape(ops.cast(order, "int32") + first, (-1,))
    return ops.reshape(inverse_permutation(places), (rows, size)) - first


def ranks(scores: Tensor, mask: Tensor) -> Tensor:
    """1-based ranks by descending score, [B, N] int32; valid documents come before masked ones."""
    return inverse_order(descending_order(scores, mask)) + 1


def rank_table(like: Tensor, last: int = 0) -> Tensor:
    """1-based ranks 1..N + `last`, [N + last], in the dtype of `like` [B, N]."""
    return ops.cast(ops.arange(1, ops.shape(like)[1] + 1 + last), like.dtype)
