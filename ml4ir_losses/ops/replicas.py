"""What a training step on several replicas needs to know of the other ones.

A replica is a device that trains on its part of every batch. On TensorFlow replicas are those of a `tf.distribute`
strategy, on torch the processes of `torch.distributed` inside `across_processes`. On JAX a step sees the arrays of all
devices as one, so that there is nothing to exchange. Outside a step of several replicas all here is the identity.

Gradients flow back to every replica, so that the sum over replicas of the gradients of their losses is right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from ml4ir_losses.core.lazy import Tensor, keras, ops
from ml4ir_losses.ops.backend import is_backend

_across_processes: ContextVar[bool] = ContextVar("across_processes", default=False)
_whole_batch: ContextVar[bool] = ContextVar("whole_batch", default=False)
_counted_rows: ContextVar[Tensor | None] = ContextVar("counted_rows", default=None)


@contextmanager
def _set(variable: ContextVar[Any], value: Any) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def across_processes() -> Any:
    """A context in which, on torch, the processes of `torch.distributed` train on parts of one batch."""
    return _set(_across_processes, True)


def on_whole_batch() -> Any:
    """A context in which every replica computes with the rows of all replicas, and so exchanges nothing."""
    return _set(_whole_batch, True)


def counting_rows(rows: Tensor | None) -> Any:
    """A context in which this replica's part of the batch has so many rows; the others only fill it up.

    Rows that fill up a batch have no documents, or are masked, and the weight 0. None: all rows count.
    """
    return _set(_counted_rows, rows)


def replica_count() -> int:
    """The number of replicas that exchange rows; 1 for a single device, and on JAX."""
    if _whole_batch.get():
        return 1
    if is_backend("tensorflow"):
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        return 1 if context is None else int(context.num_replicas_in_sync)  # None: Keras is building the model
    if is_backend("torch") and _across_processes.get():
        from ml4ir_losses.ops import processes

        return processes.count()
    return 1


def has_devices() -> bool:
    """True where the batch may be spread over devices, if only over one of them."""
    if is_backend("tensorflow"):
        import tensorflow as tf

        return bool(tf.distribute.has_strategy())
    if is_backend("torch"):
        return _across_processes.get()
    return keras.distribution.distribution() is not None


def gather_rows(*tensors: Tensor) -> tuple[tuple[Tensor, ...], Any]:
    """Each tensor [B, ...] with the rows of all replicas, in their order, and the index of the first row of this one.

    Replicas may have different numbers of rows; tensors may have any dtype, on TensorFlow strings too.
    """
    if replica_count() == 1:
        return tensors, 0
    if is_backend("torch"):
        from ml4ir_losses.ops import processes

        sizes = processes.row_numbers(tensors[0])
        return tuple(processes.gather(x, sizes) for x in tensors), processes.before(sizes)
    _, first = whole_rows(tensors[0])
    return tuple(map(_tensorflow_gather, tensors)), first


def whole_rows(like: Tensor) -> tuple[Any, Any]:
    """The number of rows of all replicas, given this one's, and the index of the first row of this replica."""
    if replica_count() == 1:
        return ops.shape(like)[0], 0
    if is_backend("torch"):
        from ml4ir_losses.ops import processes

        sizes = processes.row_numbers(like)
        return sum(sizes), processes.before(sizes)
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    rows = context.all_gather(tf.shape(like)[:1], axis=0)
    before = tf.range(tf.size(rows)) < context.replica_id_in_sync_group
    return tf.reduce_sum(rows), tf.reduce_sum(tf.where(before, rows, 0))


def sum_over_replicas(tensors: Any) -> Any:
    """The sum over replicas of a float tensor, or of each of a nest of them of one dtype, in one exchange.

    Their shapes are the same on every replica.
    """
    if replica_count() == 1:
        return tensors
    parts = [ops.convert_to_tensor(x) for x in keras.tree.flatten(tensors)]
    total = _all_reduce(ops.concatenate([ops.reshape(x, (-1,)) for x in parts]))
    sums, start = [], 0
    for part in parts:
        size = math.prod(part.shape)
        sums.append(ops.reshape(total[start : start + size], part.shape))
        start += size
    return keras.tree.pack_sequence_as(tensors, sums)


def _all_reduce(x: Tensor) -> Tensor:
    if is_backend("torch"):
        from ml4ir_losses.ops import processes

        return processes.add(x)
    import tensorflow as tf

    return tf.distribute.get_replica_context().all_reduce("SUM", x)


def row_number(like: Tensor) -> Tensor:
    """How many rows of this replica's part count, a scalar in the dtype of `like` [B, ...]: see `counting_rows`."""
    rows = _counted_rows.get()
    if rows is not None:
        return ops.cast(rows, like.dtype)
    return ops.sum(ops.ones_like(like[(slice(None), *[0] * (len(like.shape) - 1))]))


def keras_divisor() -> int:
    """By what Keras divides the mean loss of a replica: on TensorFlow the number of replicas of the strategy."""
    if not is_backend("tensorflow"):
        return 1
    import tensorflow as tf

    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def share_of_whole(function: Callable[..., Tensor], *tensors: Any) -> Tensor:
    """This replica's share of function(*tensors), a scalar of the rows of all replicas, which each of them computes.

    For functions with branches, inside which TensorFlow's replicas cannot exchange rows. Tensors may be nests and None;
    those with fewer rows than the first one, which no branch reads, are filled up with zeros.
    """
    count = replica_count()
    if count == 1:
        return function(*tensors)
    parts = keras.tree.flatten(tensors)
    rows = iter(gather_rows(*(_filled(part, ops.shape(parts[0])[0]) for part in parts if part is not None))[0])
    whole = keras.tree.pack_sequence_as(tensors, [None if part is None else next(rows) for part in parts])
    with on_whole_batch():
        return function(*whole) / count


def _filled(x: Tensor, rows: Any) -> Tensor:
    """x with zeros as further rows; TensorFlow crashes where it gathers no rows from any replica."""
    return ops.concatenate([x, ops.zeros((rows - ops.shape(x)[0], *ops.shape(x)[1:]), dtype=x.dtype)])


def uniform_rows(shape: tuple[Any, ...], axis: int = 0, **kwargs: Any) -> Tensor:
    """`keras.random.uniform`, where `axis` are the rows of this replica: its part of the draws for all rows.

    So the draws are those of one device with the whole batch, if the replicas draw from equal seeds.
    """
    if replica_count() == 1:
        return keras.random.uniform(shape, **kwargs)
    rows = shape[axis]
    total, first = whole_rows(ops.zeros((rows,)))
    draws = keras.random.uniform((*shape[:axis], total, *shape[axis + 1 :]), **kwargs)
    return draws[(slice(None),) * axis + (slice(first, first + rows),)]


# TensorFlow


def _tensorflow_gather(x: Tensor) -> Tensor:
    import tensorflow as tf

    if x.dtype == tf.string:
        return _tensorflow_gather_strings(x)
    wide = x.dtype
    if wide not in (tf.float16, tf.float32, tf.float64, tf.int32, tf.int64):  # others cannot be gathered
        wide = tf.float32 if x.dtype.is_floating else tf.int32 if x.dtype == tf.bool else tf.int64
    rows = tf.distribute.get_replica_context().all_gather(tf.cast(x, wide), axis=0)
    rows = tf.ensure_shape(tf.cast(rows, x.dtype), [None, *x.shape[1:]])
    return _with_dense_gradient(rows) if x.dtype.is_floating else rows


def _with_dense_gradient(x: Tensor) -> Tensor:
    """x; `IndexedSlices`, the gradient of a lookup, cannot be summed over replicas."""
    import tensorflow as tf

    return tf.custom_gradient(lambda x: (x, tf.convert_to_tensor))(x)


def _tensorflow_gather_strings(x: Tensor) -> Tensor:
    """Strings cannot be gathered, but the numbers of their bytes can."""
    import tensorflow as tf

    text = tf.reshape(x, (-1,))
    lengths = _tensorflow_gather(tf.strings.length(text))
    width = tf.maximum(tf.reduce_max(lengths), 1)
    codes = _tensorflow_gather(tf.cast(tf.io.decode_raw(text, tf.uint8, fixed_length=width), tf.int32))
    characters = tf.gather(tf.constant([bytes([code]) for code in range(256)]), codes)
    used = tf.range(width)[None, :] < lengths[:, None]
    joined = tf.strings.reduce_join(tf.where(used, characters, ""), axis=1)
    return tf.ensure_shape(tf.reshape(joined, tf.concat([[-1], tf.shape(x)[1:]], 0)), [None, *x.shape[1:]])
