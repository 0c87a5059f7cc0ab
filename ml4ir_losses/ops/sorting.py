"""Orders and ranks: ties keep their order, padding comes last."""

from __future__ import annotations

from typing import Any

from ml4ir_losses.core.lazy import Tensor, keras, ops


def descending_order(keys: Tensor, mask: Tensor) -> Tensor:
    """Indices, [B, N], that sort `keys` from high to low; ties keep their order, masked places come last."""
    # XLA sorts -0.0 before 0.0, which would part ties, and folds x + 0.0 to x.
    ascending = ops.where(mask, ops.where(keys == 0, 0.0, -keys), float("inf"))
    return ops.argsort(ops.stop_gradient(ascending), axis=-1)


def take(x: Tensor, order: Tensor) -> Tensor:
    """x[b, order[b, i]] for [B, N]."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.gather(x, order, batch_dims=1)  # one operation; Keras makes a dozen of it
    return ops.take_along_axis(x, order, axis=-1)


def scattered(places: Tensor, rows: Tensor, size: Any) -> Tensor:
    """Zeros of `size` [M, ...] with rows[k] at places[k], no place twice; `ops.scatter` on torch runs one by one."""
    return ops.scatter_update(ops.zeros(size, dtype=rows.dtype), places[:, None], rows)


def inverse_order(order: Tensor) -> Tensor:
    """Where each document comes in an order, [B, N] int32 from 0: what sorting the order would give, without a sort."""
    rows, size = ops.shape(order)
    first = size * ops.arange(rows, dtype="int32")[:, None]
    places = ops.reshape(ops.cast(order, "int32") + first, (-1,))
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        inverse = tf.math.invert_permutation(places)  # many times faster there than to scatter
    else:
        inverse = scattered(places, ops.arange(rows * size, dtype="int32"), (rows * size,))
    return ops.reshape(inverse, (rows, size)) - first


def ranks(scores: Tensor, mask: Tensor) -> Tensor:
    """1-based ranks by descending score, [B, N] int32; valid documents come before masked ones."""
    return inverse_order(descending_order(scores, mask)) + 1


def rank_table(like: Tensor, last: int = 0) -> Tensor:
    """1-based ranks 1..N + `last`, [N + last], in the dtype of `like` [B, N]."""
    return ops.cast(ops.arange(1, ops.shape(like)[1] + 1 + last), like.dtype)
