"""How many numbers of a row lie below others, without comparing each with each."""

from __future__ import annotations

from ml4ir_losses.core.lazy import Tensor, keras, ops
from ml4ir_losses.ops.kernels.compiling import has_accelerator


def counts_below(x: Tensor, y: Tensor, counted: Tensor, or_equal: bool = False) -> Tensor:
    """For every number of x [B, M] how many counted ones of y [B, K] in its row lie below it, [B, M] int32.

    By searching in the sorted row: memory B·(M + K). No gradient.
    """
    x, y = (ops.stop_gradient(ops.convert_to_tensor(numbers)) for numbers in (x, y))
    row = ops.sort(ops.where(counted, y, float("inf")), axis=1)
    most = ops.sum(ops.cast(counted, "int32"), axis=1, keepdims=True)
    places = _search(row, x, "right" if or_equal else "left")
    return ops.where(places < most, places, most)  # what is not counted stands behind


def _search(rows: Tensor, x: Tensor, side: str) -> Tensor:
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.searchsorted(rows, x, side=side)
    if backend == "jax":
        import jax

        method = "sort" if has_accelerator() else "scan_unrolled"  # sorts are slow on processors
        return jax.vmap(lambda row, some: jax.numpy.searchsorted(row, some, side=side, method=method))(rows, x)
    import torch

    return torch.searchsorted(rows.contiguous(), x.contiguous(), side=side, out_int32=True)
