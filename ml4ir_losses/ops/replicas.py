"""The rows of all replicas of a distributed training step."""

from __future__ import annotations

import warnings
from typing import Any

from ml4ir_losses.core.lazy import Tensor, keras
from ml4ir_losses.ops.backend import is_backend


def gather_rows(*tensors: Tensor) -> tuple[tuple[Tensor, ...], Any]:
    """Each tensor [B, ...] with the rows of all replicas, and the index of the first row of this replica.

    The gradient flows back to every replica. Without a `tf.distribute` strategy: the tensors themselves and 0.
    """
    if is_backend("tensorflow"):
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        if context is None:  # Keras is building the model
            return tensors, 0
        if tf.distribute.has_strategy():
            if context.num_replicas_in_sync == 1:
                return tensors, 0
            # Replicas may have different numbers of rows, and booleans cannot be gathered.
            rows = context.all_gather(tf.shape(tensors[0])[:1], axis=0)
            before = tf.reduce_sum(tf.where(tf.range(tf.size(rows)) < context.replica_id_in_sync_group, rows, 0))
            gathered = [
                tf.cast(context.all_gather(tf.cast(x, tf.int32) if x.dtype == tf.bool else x, axis=0), x.dtype)
                for x in tensors
            ]
            return tuple(gathered), before
    elif keras.distribution.distribution() is not None:  # there the loss already sees the batch of all devices
        return tensors, 0
    warnings.warn("`gather_across_devices` has no effect: there is one device.", stacklevel=2)
    return tensors, 0
