"""Log-sum-exp over the dot products of rows with candidates, in blocks instead of the whole matrix.

Small batches compute the whole matrix, which is also the dense reference of the blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.ops.backend import detached, exact_products, scan_blocks
from ml4ir_losses.ops.masking import lowest
from ml4ir_losses.ops.similarity import dot_matrix

Fields = tuple[Tensor, ...]
Allowed = Callable[..., Tensor]

_BLOCK = 2**22  # entries of a block of the matrix; a matrix up to this size is computed at once
_ROWS = 64  # at least so many rows in a block: fewer are slow, and 64 take about as much memory as the candidates


def logsumexp_of_dots(
    rows: Tensor, columns: Tensor, allowed: Allowed, row_fields: Fields, column_fields: Fields, block: int | None = None
) -> Tensor:
    """ln Σ_j exp(rows_i·columns_j) over the allowed columns j of row i, [B]; very low, but finite, if none is allowed.

    Args:
        rows: [B, D].
        columns: [M, D].
        allowed: returns the boolean mask [R, M] of allowed pairs, from the fields of R rows, then those of all columns.
        row_fields: tensors [B, ...] without a gradient.
        column_fields: tensors [M, ...] without a gradient.
        block: R; None: chosen by the sizes. Memory is R·M beside B·D and M·D, forward and backward: the backward pass
            recomputes the dot products.
    """
    block = _rows_of_a_block(rows, columns) if block is None else block
    if block is None:
        return ops.logsumexp(_masked_dots(rows, columns, allowed(*row_fields, *column_fields)), axis=-1)
    return _streamed(rows, columns, allowed, row_fields, column_fields, block, both=False)


def logsumexp_both_ways(
    rows: Tensor, columns: Tensor, allowed: Allowed, row_fields: Fields, column_fields: Fields, block: int | None = None
) -> tuple[Tensor, Tensor]:
    """`logsumexp_of_dots` over the columns of every row, [B], and over the rows of every column, [M], in one pass."""
    block = _rows_of_a_block(rows, columns) if block is None else block
    if block is None:
        dots = _masked_dots(rows, columns, allowed(*row_fields, *column_fields))
        return ops.logsumexp(dots, axis=1), ops.logsumexp(dots, axis=0)
    values = _streamed(rows, columns, allowed, row_fields, column_fields, block, both=True)
    count = ops.shape(rows)[0]
    return values[:count], values[count:]


def hardest_columns(
    rows: Tensor, columns: Tensor, allowed: Allowed, row_fields: Fields, column_fields: Fields, block: int
) -> Tensor:
    """The allowed column that has the largest dot product with each row, [B] int32; no gradient.

    The first of equal ones; the first column if none is allowed. Arguments as in `logsumexp_of_dots`.
    """
    rows, columns = ops.stop_gradient(rows), ops.stop_gradient(columns)
    split = _Blocks.of(ops.shape(rows)[0], block)

    def hardest(carry: Fields, block_rows: Tensor, *fields: Tensor) -> tuple[Fields, Tensor]:
        dots = _masked_dots(block_rows, columns, allowed(*fields, *column_fields))
        return carry, ops.cast(ops.argmax(dots, axis=-1), "int32")

    blocks = split(rows), *(split(field) for field in row_fields)
    like = ops.zeros_like(blocks[0][0, :, 0], dtype="int32")
    return split.join(scan_blocks(hardest, blocks, like)[1])


def _streamed(
    rows: Tensor, columns: Tensor, allowed: Allowed, row_fields: Fields, column_fields: Fields, block: Any, both: bool
) -> Tensor:
    """The log-sum-exp of the rows, [B]; with `both` followed by that of the columns, [B + M]."""
    count = ops.shape(rows)[0]
    split = _Blocks.of(count, block)

    def masked_dots(block_rows: Tensor, columns: Tensor, valid_rows: Tensor, fields: Fields) -> Tensor:
        mask = allowed(*fields, *column_fields)
        return _masked_dots(block_rows, columns, ops.logical_and(mask, valid_rows[:, None]) if both else mask)

    @ops.custom_gradient  # type: ignore[untyped-decorator]
    def streamed(rows: Tensor, columns: Tensor) -> tuple[Tensor, Any]:
        rows, columns = detached(rows), detached(columns)
        row_blocks = split(rows)
        fields = (split(ops.ones_like(rows[:, 0], dtype="bool")), *(split(field) for field in row_fields))
        zeros = ops.zeros_like(columns[:, 0], dtype=columns.dtype)  # without dtype it would be float32 on torch

        def forward(carry: Fields, block_rows: Tensor, valid_rows: Tensor, *fields: Tensor) -> tuple[Fields, Tensor]:
            dots = masked_dots(block_rows, columns, valid_rows, fields)
            if both:
                top = ops.max(dots, axis=0)
                top = ops.where(top > carry[0], top, carry[0])  # `ops.maximum` narrows float64 on torch
                carry = top, carry[1] * ops.exp(carry[0] - top) + ops.sum(ops.exp(dots - top), axis=0)
            return carry, ops.logsumexp(dots, axis=-1)

        start = (zeros + lowest(columns), zeros) if both else ()
        columns_end, row_values = scan_blocks(forward, (row_blocks, *fields), row_blocks[0, :, 0], *start)
        column_values = columns_end[0] + ops.log(columns_end[1]) if both else zeros

        def gradient(*args: Tensor, upstream: Tensor | None = None) -> tuple[Tensor, Tensor]:
            upstream = args[0] if upstream is None else upstream
            column_slope = upstream[count:]

            def backward(
                carry: Fields, block_rows: Tensor, value: Tensor, slope: Tensor, valid_rows: Tensor, *fields: Tensor
            ) -> tuple[Fields, Tensor]:
                dots = masked_dots(block_rows, columns, valid_rows, fields)
                share, slope = ops.exp(dots - _or_zero(value)[:, None]), slope[:, None]
                if both:
                    share = slope * share + column_slope * ops.exp(dots - _or_zero(column_values))
                    return (carry[0] + _product("ij,id->jd", share, block_rows),), _product("ij,jd->id", share, columns)
                to_columns = carry[0] + _product("ij,id->jd", share, slope * block_rows)
                return (to_columns,), slope * _product("ij,jd->id", share, columns)

            state = (row_blocks, row_values, split(upstream[:count]), *fields)
            start = ops.zeros_like(columns, dtype=columns.dtype)
            (to_columns,), to_rows = scan_blocks(backward, state, row_blocks[0], start)
            return split.join(to_rows), to_columns

        values = split.join(row_values)
        return ops.concatenate([values, column_values]) if both else values, gradient

    return streamed(rows, columns)


def _masked_dots(rows: Tensor, columns: Tensor, mask: Tensor) -> Tensor:
    return ops.where(mask, dot_matrix(rows, columns), lowest(rows))


def _product(equation: str, a: Tensor, b: Tensor) -> Tensor:
    with exact_products():
        return ops.einsum(equation, a, b)


def _or_zero(value: Tensor) -> Tensor:
    """The value, but 0 where no pair is allowed, so that exp(lowest - value) is 0 there."""
    return ops.where(value > lowest(value) / 2, value, 0.0)


def _rows_of_a_block(rows: Tensor, columns: Tensor) -> Any:
    """The number of rows of a block; None: compute the whole matrix at once."""
    count, width = ops.shape(rows)[0], ops.shape(columns)[0]
    if isinstance(count, int) and isinstance(width, int) and count * width <= _BLOCK:
        return None
    return _at_least(_ROWS, _BLOCK // _at_least(1, width))


class _Blocks(NamedTuple):
    """Splits [B, ...] into [blocks, size, ...], padded with zeros, and joins it."""

    count: Any
    blocks: Any
    size: Any

    @classmethod
    def of(cls, count: Any, at_most: Any) -> _Blocks:
        """Blocks of nearly equal size, with at most `at_most` rows."""
        blocks = _at_least(1, -(-count // at_most))
        return cls(count, blocks, _at_least(1, -(-count // blocks)))

    def __call__(self, x: Tensor) -> Tensor:
        missing = self.blocks * self.size - self.count
        if not isinstance(missing, int) or missing:
            x = ops.concatenate([x, ops.zeros((missing, *x.shape[1:]), dtype=x.dtype)])
        return ops.reshape(x, (self.blocks, self.size, *x.shape[1:]))

    def join(self, x: Tensor) -> Tensor:
        return ops.reshape(x, (self.blocks * self.size, *x.shape[2:]))[: self.count]


def _at_least(low: int, number: Any) -> Any:
    """max(low, number) of a Python number or a tensor."""
    return max(low, number) if isinstance(number, int) else ops.maximum(low, number)
