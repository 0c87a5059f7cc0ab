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


class Candidates(NamedTuple):
    """Which columns are candidates of which rows.

    Args:
        allowed: returns the boolean mask [R, M] of candidates, from the fields of R rows, then those of all columns.
        row_fields: tensors [B, ...] without a gradient.
        column_fields: tensors [M, ...] without a gradient.
        is_hard: returns a boolean mask [R, M] from the same fields, of the logits that are raised; None: none is.
        hardness: h; h times itself is added to a logit that is raised, without a gradient.
    """

    allowed: Callable[..., Tensor]
    row_fields: Fields
    column_fields: Fields
    is_hard: Callable[..., Tensor] | None = None
    hardness: Any = 0.0

    def logits(self, rows: Tensor, columns: Tensor, row_fields: Fields, valid_rows: Tensor | None = None) -> Tensor:
        """Dot products [R, M] of R rows with their fields; very low where a column is not a candidate."""
        return self.masked(dot_matrix(rows, columns), row_fields, valid_rows)

    def masked(self, logits: Tensor, row_fields: Fields, valid_rows: Tensor | None = None) -> Tensor:
        """Logits [R, M], raised where they are hard, and very low where a column is not a candidate."""
        fields = (*row_fields, *self.column_fields)
        mask = self.allowed(*fields)
        if valid_rows is not None:
            mask = ops.logical_and(mask, valid_rows[:, None])
        if self.is_hard is not None:
            logits = logits + ops.where(self.is_hard(*fields), self.hardness * ops.stop_gradient(logits), 0.0)
        return ops.where(mask, logits, lowest(logits))


_BLOCK = 2**22  # entries of a block of the matrix; a matrix up to this size is computed at once
_ROWS = 64  # at least so many rows in a block: fewer are slow, and 64 take about as much memory as the candidates


def logsumexp_of_dots(rows: Tensor, columns: Tensor, candidates: Candidates, block: int | None = None) -> Tensor:
    """ln Σ_j exp(rows_i·columns_j) over the candidates j of row i, [B]; very low, but finite, without candidates.

    Args:
        rows: [B, D].
        columns: [M, D].
        candidates: which columns are candidates.
        block: R, rows of a block; None: chosen by the sizes. Memory is R·M beside B·D and M·D, forward and backward:
            the backward pass recomputes the dot products.
    """
    block = _rows_of_a_block(rows, columns) if block is None else block
    if block is None:
        return ops.logsumexp(candidates.logits(rows, columns, candidates.row_fields), axis=-1)
    return _streamed(rows, columns, candidates, block, both=False)


def logsumexp_both_ways(
    rows: Tensor, columns: Tensor, candidates: Candidates, block: int | None = None
) -> tuple[Tensor, Tensor]:
    """`logsumexp_of_dots` over the columns of every row, [B], and over the rows of every column, [M], in one pass."""
    block = _rows_of_a_block(rows, columns) if block is None else block
    if block is None:
        logits = candidates.logits(rows, columns, candidates.row_fields)
        return ops.logsumexp(logits, axis=1), ops.logsumexp(logits, axis=0)
    values = _streamed(rows, columns, candidates, block, both=True)
    count = ops.shape(rows)[0]
    return values[:count], values[count:]


def hardest_columns(rows: Tensor, columns: Tensor, candidates: Candidates, block: int) -> Tensor:
    """The candidate with the largest dot product with each row, [B] int32; no gradient.

    The first of equal ones; the first column if there is no candidate. Arguments as in `logsumexp_of_dots`.
    """
    rows, columns = ops.stop_gradient(rows), ops.stop_gradient(columns)
    split = _Blocks.of(ops.shape(rows)[0], block)

    def hardest(carry: Fields, block_rows: Tensor, *fields: Tensor) -> tuple[Fields, Tensor]:
        return carry, ops.cast(ops.argmax(candidates.logits(block_rows, columns, fields), axis=-1), "int32")

    blocks = split(rows), *(split(field) for field in candidates.row_fields)
    like = ops.zeros_like(blocks[0][0, :, 0], dtype="int32")
    return split.join(scan_blocks(hardest, blocks, like)[1])


def _streamed(rows: Tensor, columns: Tensor, candidates: Candidates, block: Any, both: bool) -> Tensor:
    """The log-sum-exp of the rows, [B]; with `both` followed by that of the columns, [B + M]."""
    count = ops.shape(rows)[0]
    split = _Blocks.of(count, block)

    @ops.custom_gradient  # type: ignore[untyped-decorator]
    def streamed(rows: Tensor, columns: Tensor) -> tuple[Tensor, Any]:
        rows, columns = detached(rows), detached(columns)
        row_blocks = split(rows)
        fields = (split(ops.ones_like(rows[:, 0], dtype="bool")), *(split(field) for field in candidates.row_fields))
        zeros = ops.zeros_like(columns[:, 0], dtype=columns.dtype)  # without dtype it would be float32 on torch

        def forward(carry: Fields, block_rows: Tensor, valid_rows: Tensor, *fields: Tensor) -> tuple[Fields, Tensor]:
            logits = candidates.logits(block_rows, columns, fields, valid_rows if both else None)
            if both:
                top = ops.max(logits, axis=0)
                top = ops.where(top > carry[0], top, carry[0])  # `ops.maximum` narrows float64 on torch
                carry = top, carry[1] * ops.exp(carry[0] - top) + ops.sum(ops.exp(logits - top), axis=0)
            return carry, ops.logsumexp(logits, axis=-1)

        start = (zeros + lowest(columns), zeros) if both else ()
        columns_end, row_values = scan_blocks(forward, (row_blocks, *fields), row_blocks[0, :, 0], *start)
        column_values = columns_end[0] + ops.log(columns_end[1]) if both else zeros

        def gradient(*args: Tensor, upstream: Tensor | None = None) -> tuple[Tensor, Tensor]:
            upstream = args[0] if upstream is None else upstream
            column_slope = upstream[count:]

            def backward(
                carry: Fields, block_rows: Tensor, value: Tensor, slope: Tensor, valid_rows: Tensor, *fields: Tensor
            ) -> tuple[Fields, Tensor]:
                logits = candidates.logits(block_rows, columns, fields, valid_rows if both else None)
                share, slope = ops.exp(logits - _or_zero(value)[:, None]), slope[:, None]
                if both:
                    share = slope * share + column_slope * ops.exp(logits - _or_zero(column_values))
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
