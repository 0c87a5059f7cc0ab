"""How many numbers of a row lie below others, without comparing each with each."""

from __future__ import annotations

from ml4ir_losses.lazy import Tensor, ops


def counts_below(x: Tensor, y: Tensor, counted: Tensor, or_equal: bool = False) -> Tensor:
    """For every number of x [B, M] how many counted ones of y [B, K] in its row lie below it, [B, M] int32.

    By sorting both together: memory B·(M + K). No gradient.
    """
    width = ops.shape(x)[1]
    # The sort is stable: among equal numbers those of the first part stay first.
    parts = [(x, ops.zeros_like(x, dtype="int32")), (y, ops.cast(counted, "int32"))]
    numbers, flags = zip(*(parts[::-1] if or_equal else parts), strict=True)
    keys = ops.stop_gradient(ops.concatenate(numbers, axis=1))
    order = ops.argsort(ops.where(keys == 0, 0.0, keys), axis=1)  # XLA sorts -0.0 before 0.0
    running = ops.cumsum(ops.take_along_axis(ops.concatenate(flags, axis=1), order, axis=1), axis=1)
    counts = ops.take_along_axis(running, ops.argsort(order, axis=1), axis=1)
    return ops.cast(counts[:, -width:] if or_equal else counts[:, :width], "int32")
