"""Sinkhorn scaling whose backward pass stores vectors, not matrices; computes `dense_sinkhorn`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.ops.backend import exact_products, loop
from ml4ir_losses.ops.kernels.gradients import with_gradient
from ml4ir_losses.ops.masking import safe_divide


def dense_sinkhorn(matrix: Tensor, iterations: int) -> Tensor:
    """Divides columns, then rows, by their sums, `iterations` times; the backward pass stores every matrix."""
    for _ in range(iterations):
        for axis in (1, 2):
            matrix = safe_divide(matrix, ops.sum(matrix, axis=axis, keepdims=True) * ops.ones_like(matrix))
    return matrix


def sinkhorn(matrix: Tensor, iterations: int) -> Tensor:
    """Divides columns, then rows, by their sums, `iterations` times: [B, N, N] → nearly doubly stochastic.

    Rows and columns of zeros stay 0. Every other column must have an entry well above 0, as those of NeuralSort do.
    The matrix after each iteration is diag(r)·K·diag(c), so that the backward pass needs only r and c of each
    iteration: memory B·N·iterations beside the matrix.
    """

    def scale(matrix: Tensor) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, ...]]]:
        def forward(t: Any, row: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, ...]:
            column = _inverse(_left(row, matrix))
            after = _inverse(_right(matrix, column))
            return after, _put(rows, t, row), _put(columns, t, column)  # the row before, and the column

        start = ops.ones_like(matrix[:, :, 0], dtype=matrix.dtype)
        empty = ops.zeros((iterations, 1, 1), dtype=matrix.dtype) * start
        last, rows, columns = loop(forward, 0, iterations, (start, empty, empty))

        def pull_back(upstream: Tensor) -> tuple[Tensor, ...]:
            def backward(
                index: Any, row: Tensor, to_row: Tensor, to_column: Tensor, left: Tensor, right: Tensor
            ) -> tuple[Tensor, ...]:
                t = iterations - 1 - index
                change = -to_row * row * row
                column = columns[t]
                before = -(to_column + _left(change, matrix)) * column * column
                to_row = _right(matrix, before)
                zeros = ops.zeros_like(to_column, dtype=matrix.dtype)
                return rows[t], to_row, zeros, _put(left, t, change), _put(right, t, before)

            weighted = upstream * matrix
            slopes = _right(weighted, columns[-1]), _left(last, weighted)
            *_, left, right = loop(backward, 0, iterations, (last, *slopes, empty, empty))
            left, right = ops.concatenate([left, rows]), ops.concatenate([columns, right])
            with exact_products():
                steps = ops.transpose(left, (1, 2, 0)) @ ops.transpose(right, (1, 0, 2))
            return (upstream * _outer(last, columns[-1]) + steps,)

        return matrix * _outer(last, columns[-1]), pull_back

    return with_gradient(scale, (matrix,))


def _put(stack: Tensor, index: Any, x: Tensor) -> Tensor:
    """The stack with x in place of the entry at the index."""
    return ops.where((ops.arange(stack.shape[0]) == index)[:, None, None], x, stack)


def _inverse(x: Tensor) -> Tensor:
    return safe_divide(ops.ones_like(x, dtype=x.dtype), x)


# `@`, not `ops.matmul`, which narrows float64 on torch.
def _left(vector: Tensor, matrix: Tensor) -> Tensor:
    with exact_products():
        return (vector[:, None, :] @ matrix)[:, 0, :]


def _right(matrix: Tensor, vector: Tensor) -> Tensor:
    with exact_products():
        return (matrix @ vector[:, :, None])[:, :, 0]


def _outer(row: Tensor, column: Tensor) -> Tensor:
    return row[:, :, None] * column[:, None, :]
