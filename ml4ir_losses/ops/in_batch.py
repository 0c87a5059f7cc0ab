"""Log-sum-exp of the dot products of all rows of a batch with all candidates, without their matrix in memory.

For small batches the functions compute the matrix; that code is also what the blocks compute.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.ops.backend import detached, exact_products, scan_blocks
from ml4ir_losses.ops.masking import lowest
from ml4ir_losses.ops.similarity import dot_matrix

Facts = tuple[Tensor, ...]
Keep = Callable[..., Tensor]

_BLOCK = 2**22  # numbers of a block of the matrix; a matrix up to this size is computed at once
_ROWS = 64  # rows of a block at least: fewer are slow, and 64 take about the memory of the candidates themselves


def logsumexp_of_dots(
    rows: Tensor, columns: Tensor, keep: Keep, row_facts: Facts, column_facts: Facts, block: int | None = None
) -> Tensor:
    """ln Σ_j exp(rows_i·columns_j) over the allowed columns j of row i, [B]; very low, but finite, if there is none.

    Args:
        rows: [B, D].
        columns: [M, D].
        keep: a boolean mask [R, M] of allowed pairs, from the facts of R of the rows and then those of all columns.
        row_facts: tensors [B, ...], which get no gradient.
        column_facts: tensors [M, ...], which get no gradient.
        block: R; None: chosen by the sizes. Memory is R·M beside B·D and M·D, forward and backward: the backward pass
            computes the dot products anew.
    """
    block = _rows_of_a_block(rows, columns) if block is None else block
    if block is None:
        return ops.logsumexp(_kept_dots(rows, columns, keep(*row_facts, *column_facts)), axis=-1)
    return _streamed(rows, columns, keep, row_facts, column_facts, block, both=False)


def logsumexp_both_ways(
    rows: Tensor, columns: Tensor, keep: Keep, row_facts: Facts, column_facts: Facts, block: int | None = None
) -> tuple[Tensor, Tensor]:
    """`logsumexp_of_dots` over the columns of every row, [B], and over the rows of every column, [M], in one pass."""
    block = _rows_of_a_block(rows, columns) if block is None else block
    if block is None:
        dots = _kept_dots(rows, columns, keep(*row_facts, *column_facts))
        return ops.logsumexp(dots, axis=1), ops.logsumexp(dots, axis=0)
    values = _streamed(rows, columns, keep, row_facts, column_facts, block, both=True)
    count = ops.shape(rows)[0]
    return values[:count], values[count:]


def hardest_columns(
    rows: Tensor, columns: Tensor, keep: Keep, row_facts: Facts, column_facts: Facts, block: int
) -> Tensor:
    """The allowed column that has the largest dot product with each row, [B] int32; no gradient.

    The first one of equals, and the first column if none is allowed. Arguments as in `logsumexp_of_dots`.
    """
    rows, columns = ops.stop_gradient(rows), ops.stop_gradient(columns)
    split = _Blocks.of(ops.shape(rows)[0], block)

    def hardest(carry: Facts, some: Tensor, *facts: Tensor) -> tuple[Facts, Tensor]:
        dots = _kept_dots(some, columns, keep(*facts, *column_facts))
        return carry, ops.cast(ops.argmax(dots, axis=-1), "int32")

    blocks = split(rows), *(split(fact) for fact in row_facts)
    like = ops.zeros_like(blocks[0][0, :, 0], dtype="int32")
    return split.join(scan_blocks(hardest, blocks, like)[1])


def _streamed(
    rows: Tensor, columns: Tensor, keep: Keep, row_facts: Facts, column_facts: Facts, block: Any, both: bool
) -> Tensor:
    """The values of the rows, [B], or of the rows and then of the columns, [B + M]."""
    count = ops.shape(rows)[0]
    split = _Blocks.of(count, block)

    def kept_dots(some: Tensor, columns: Tensor, valid_rows: Tensor, facts: Facts) -> Tensor:
        kept = keep(*facts, *column_facts)
        return _kept_dots(some, columns, ops.logical_and(kept, valid_rows[:, None]) if both else kept)

    @ops.custom_gradient  # type: ignore[untyped-decorator]
    def streamed(rows: Tensor, columns: Tensor) -> tuple[Tensor, Any]:
        rows, columns = detached(rows), detached(columns)
        row_blocks = split(rows)
        facts = (split(ops.ones_like(rows[:, 0], dtype="bool")), *(split(fact) for fact in row_facts))
        nothing = ops.zeros_like(columns[:, 0], dtype=columns.dtype)  # without dtype it would be float32 on torch

        def forward(carry: Facts, some: Tensor, valid_rows: Tensor, *facts: Tensor) -> tuple[Facts, Tensor]:
            dots = kept_dots(some, columns, valid_rows, facts)
            if both:
                top = ops.max(dots, axis=0)
                top = ops.where(top > carry[0], top, carry[0])  # `ops.maximum` narrows float64 on torch
                carry = top, carry[1] * ops.exp(carry[0] - top) + ops.sum(ops.exp(dots - top), axis=0)
            return carry, ops.logsumexp(dots, axis=-1)

        start = (nothing + lowest(columns), nothing) if both else ()
        columns_end, row_values = scan_blocks(forward, (row_blocks, *facts), row_blocks[0, :, 0], *start)
        column_values = columns_end[0] + ops.log(columns_end[1]) if both else nothing

        def gradient(*args: Tensor, upstream: Tensor | None = None) -> tuple[Tensor, Tensor]:
            upstream = args[0] if upstream is None else upstream
            column_slope = upstream[count:]

            def backward(
                carry: Facts, some: Tensor, value: Tensor, slope: Tensor, valid_rows: Tensor, *facts: Tensor
            ) -> tuple[Facts, Tensor]:
                dots = kept_dots(some, columns, valid_rows, facts)
                share, slope = ops.exp(dots - _or_zero(value)[:, None]), slope[:, None]
                if both:
                    share = slope * share + column_slope * ops.exp(dots - _or_zero(column_values))
                    return (carry[0] + _product("ij,id->jd", share, some),), _product("ij,jd->id", share, columns)
                to_columns = carry[0] + _product("ij,id->jd", share, slope * some)
                return (to_columns,), slope * _product("ij,jd->id", share, columns)

            state = (row_blocks, row_values, split(upstream[:count]), *facts)
            start = ops.zeros_like(columns, dtype=columns.dtype)
            (to_columns,), to_rows = scan_blocks(backward, state, row_blocks[0], start)
            return split.join(to_rows), to_columns

        values = split.join(row_values)
        return ops.concatenate([values, column_values]) if both else values, gradient

    return streamed(rows, columns)


def _kept_dots(rows: Tensor, columns: Tensor, kept: Tensor) -> Tensor:
    return ops.where(kept, dot_matrix(rows, columns), lowest(rows))


def _product(equation: str, a: Tensor, b: Tensor) -> Tensor:
    with exact_products():
        return ops.einsum(equation, a, b)


def _or_zero(value: Tensor) -> Tensor:
    """value, but 0 where no pair was allowed: exp(lowest) is 0, exp(lowest - value) would not be."""
    return ops.where(value > lowest(value) / 2, value, 0.0)


def _rows_of_a_block(rows: Tensor, columns: Tensor) -> Any:
    """The number of rows of a block; None if all of the matrix is computed at once."""
    count, width = ops.shape(rows)[0], ops.shape(columns)[0]
    if isinstance(count, int) and isinstance(width, int) and count * width <= _BLOCK:
        return None
    return _at_least(_ROWS, _BLOCK // _at_least(1, width))


class _Blocks(NamedTuple):
    """Splits [B, ...] into [blocks, size, ...], padded with zeros, and joins it again."""

    count: Any
    blocks: Any
    size: Any

    @classmethod
    def of(cls, count: Any, at_most: Any) -> _Blocks:
        """Blocks of nearly the same size."""
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
    """max(low, number), also of a tensor."""
    return max(low, number) if isinstance(number, int) else ops.maximum(low, number)
