"""Sums over all pairs of documents of a list, computed in stripes, with the memory of one stripe.

`stripe_sums` computes `dense_sums`: a function of all pairs of documents (rows [B, R, 1], columns [B, 1, N]), summed
over the columns for each row, or over the rows for each column.

The documents of each list are cut into tiles of T. Every tile of rows meets every tile of columns of its list; tiles
behind the last valid document of a list are left out. A stripe is a fixed number of such pairs of tiles, of whatever
lists: the function sees rows [P, T, 1], columns [P, 1, T] and pairs [P, T, T]. So one compiled kernel serves batches of
any shape, and padding costs at most a part of a tile per list. NaN marks padding, for which the function must
contribute 0.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from ml4ir_losses.core.lazy import Tensor, keras, ops
from ml4ir_losses.ops.backend import (
    State,
    has_accelerator,
    is_backend,
    loop,
    search_sorted,
)
from ml4ir_losses.ops.kernels.compiling import compiled

_TILE = 64  # documents in a tile, a power of 2
_PAIRS = {False: 2**18, True: 2**24}  # pairs in a stripe, without and with an accelerator: 2^18 fit into a CPU cache
_CALL = 2**20  # pairs in a call of the kernel, which computes them in a loop over stripes
_IN_ROWS = {False: 2**19, True: 2**24}  # pairs in some rows of all lists, on torch
_DENSE = 2**16  # batches of up to so many pairs are computed at once, without a kernel
_ONE_STRIPE = {"tensorflow": 2**26, "jax": 2**26, "torch": 2**24}  # on accelerators: up to so many pairs in one stripe


class Stripe(ABC):
    """A function of pairs of documents; hashable and compared by value."""

    def prepare(self, documents: Sequence[Tensor]) -> Sequence[Tensor]:
        """Extends the fields of the documents, [B, R] or [B, N] each; skipped for small batches."""
        return documents

    @abstractmethod
    def __call__(
        self, rows: Sequence[Tensor], columns: Sequence[Tensor], at_distance: Tensor | None
    ) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Sums for the rows, [P, T] each, and for the columns, [P, T] each.

        Args:
            rows, columns: the fields of the documents, [P, T, 1] and [P, 1, T].
            at_distance: `distance_table[|i - j|]` of row i and column j, [P, T, T] or [T, T], or None.
        """


def dense_sums(
    stripe: Stripe, rows: Sequence[Tensor], columns: Sequence[Tensor], at_distance: Tensor | None
) -> list[Tensor]:
    """The sums for rows, [B, R] each, then those for columns, [B, N] each, from all pairs at once: memory B·R·N."""
    to_rows, to_columns = stripe([x[:, :, None] for x in rows], [x[:, None, :] for x in columns], at_distance)
    return [*to_rows, *to_columns]


def stripe_sums(
    stripe: Stripe,
    outputs: tuple[int, int],
    rows: Sequence[Tensor],
    columns: Sequence[Tensor],
    extents: Tensor,
    *,
    first_row: int = 0,
    distance_table: Tensor | None = None,
    mirrored: bool = False,
) -> list[Tensor]:
    """`dense_sums` with the memory of one stripe, [B, R] each, then [B, N] each.

    For use inside a custom gradient: no gradient flows through.

    Args:
        outputs: number of sums for rows, and of sums for columns.
        rows, columns: the fields of the documents, [B, R] and [B, N], of one dtype; NaN in padding. Row i is the
            document `first_row` + i.
        extents: the number of leading documents of each list that may be valid, [B].
        distance_table: numbers by the distance |i - j| of documents, at least N.
        mirrored: rows and columns are the same documents, and the pair (i, j) adds to its column what (j, i) adds to
            its row. Then only the sums for rows are returned, and one of the two pairs is computed.
    """
    size = *_sizes(rows[0]), _sizes(columns[0])[1]
    tables = [] if distance_table is None else [distance_table]
    tensors = [*rows, *columns, extents, *tables]
    heights = [size[1]] * outputs[0] + ([] if mirrored else [size[2]] * outputs[1])

    def dense() -> list[Tensor]:
        at_distance = [_at_distance(x, size[1], size[2], first_row) for x in tables]
        return dense_sums(stripe, rows, columns, *(at_distance or [None]))[: len(heights)]

    def tiled() -> list[Tensor]:
        if is_backend("torch"):
            return _row_stripes(stripe, outputs, rows, columns, extents, first_row, tables)[: len(heights)]
        if not is_backend("jax"):
            return list(_tile_sums(stripe, outputs, len(rows), first_row, mirrored, *tensors))
        # Compiled as a whole, for few shapes, as eager calls may see any: padding costs no tiles.
        kernel = compiled(_tile_sums, stripe, outputs, len(rows), first_row, mirrored)
        sums = kernel(*(_to_power_of_two(x, float("nan") if len(x.shape) == 2 else 0) for x in tensors))
        return [x[: size[0], :height] for x, height in zip(sums, heights, strict=True)]

    if all(isinstance(x, int) for x in size):
        count = size[0] * size[1] * size[2]
        if count <= _DENSE:
            return dense()
        # Every iteration of a loop would wait for the host; the fused sums take almost no memory.
        if has_accelerator() and count <= _ONE_STRIPE[keras.backend.backend()]:
            return list(compiled(_one_stripe, stripe, len(heights), len(rows), first_row)(*tensors))
        return tiled()
    # Such lists never take the dense branch, for which TensorFlow would still fold constants [R, N].
    long = all(isinstance(x, int) for x in size[1:]) and size[1] * size[2] > _DENSE
    if long or not is_backend("tensorflow"):
        return tiled()
    import tensorflow as tf

    # In float: 32-bit integers would overflow.
    count = ops.prod([ops.cast(x, "float32") for x in size])
    dims = [(rows[0] if number < outputs[0] else columns[0]).shape for number in range(len(heights))]
    return [tf.ensure_shape(x, dim) for x, dim in zip(tf.cond(count <= _DENSE, dense, tiled), dims, strict=True)]


def extents_of(mask: Tensor) -> Tensor:
    """Number of leading documents of each list up to its last valid one, [B] int32."""
    places = ops.arange(1, _sizes(mask)[1] + 1, dtype="int32")
    # Padded with a 0 in front, for lists without documents; `initial` would be on the CPU on torch.
    return ops.max(ops.pad(ops.where(mask, places[None, :], 0), ((1, 0), (0, 0))), axis=1)[1:]


def _one_stripe(stripe: Stripe, wanted: int, row_fields: int, first_row: int, *tensors: Tensor) -> State:
    """The first of the `dense_sums` of prepared documents, as many as are wanted."""
    rows, columns, _, tables = _by_kind(row_fields, tensors)
    at_distance = [_at_distance(x, rows[0].shape[1], columns[0].shape[1], first_row) for x in tables]
    return tuple(dense_sums(stripe, stripe.prepare(rows), stripe.prepare(columns), *(at_distance or [None])))[:wanted]


def _row_stripes(
    stripe: Stripe,
    outputs: tuple[int, int],
    rows: Sequence[Tensor],
    columns: Sequence[Tensor],
    extents: Tensor,
    first_row: int,
    tables: Sequence[Tensor],
) -> list[Tensor]:
    """`dense_sums` of some rows of all lists at a time: uncompiled, few large operations take the least time."""
    (lists, height), width = rows[0].shape, columns[0].shape[1]
    rows = [_to_extents(x, extents - first_row) for x in rows]
    columns = [_to_extents(x, extents) for x in columns]
    at_once = max(1, _IN_ROWS[has_accelerator()] // max(1, lists * width))
    parts = []
    for begin in range(0, height, at_once):
        part = [x[:, begin : begin + at_once] for x in rows]
        at_distance = [_at_distance(x, part[0].shape[1], width, first_row + begin) for x in tables]
        parts.append(dense_sums(stripe, part, columns, *(at_distance or [None])))
    each = list(zip(*parts, strict=True))
    return [ops.concatenate(x, axis=1) for x in each[: outputs[0]]] + [sum(x) for x in each[outputs[0] :]]


def _to_extents(x: Tensor, extents: Tensor) -> Tensor:
    """x [B, N], NaN behind the extents."""
    return ops.where(ops.arange(x.shape[1], dtype="int32")[None, :] < extents[:, None], x, float("nan"))


def _by_kind(row_fields: int, tensors: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor], Tensor, list[Tensor]]:
    """Rows [B, R], columns [B, N], extents [B], tables [N]."""
    fields = [x for x in tensors if len(x.shape) == 2]
    extents, *tables = tensors[len(fields) :]
    return fields[:row_fields], fields[row_fields:], extents, tables


def _tile_sums(
    stripe: Stripe, outputs: tuple[int, int], row_fields: int, first_row: int, mirrored: bool, *tensors: Tensor
) -> State:
    """`stripe_sums` tile by tile."""
    rows, columns, extents, tables = _by_kind(row_fields, tensors)
    (lists, height), width = _sizes(rows[0]), _sizes(columns[0])[1]
    tall, wide = -(-height // _TILE), -(-width // _TILE)  # tiles of a list
    row_tiles = [_tiles(x, tall) for x in stripe.prepare(rows)]
    column_tiles = row_tiles if mirrored else [_tiles(x, wide) for x in stripe.prepare(columns)]
    windows = [_windows(x, tall, wide, first_row) for x in tables]
    pairs = _TilePairs(extents, first_row, height, mirrored)
    at_once = _pairs_in_call() // _TILE**2
    kernel = compiled(_kernel, stripe, outputs, len(row_tiles), len(column_tiles))
    row_end, column_end = lists * tall, lists * wide  # the tiles without documents

    def add(index: Any, *sums: Tensor) -> State:
        is_pair, found, row, column = pairs.at(index * at_once + ops.arange(at_once, dtype="int32"))
        row_tile = ops.where(is_pair, found * tall + row, row_end)
        column_tile = ops.where(is_pair, found * wide + column, column_end)
        apart = ops.where(is_pair, row - column + wide - 1, 0)
        documents = [*(ops.take(x, row_tile, axis=0) for x in row_tiles)]
        documents += [ops.take(x, column_tile, axis=0) for x in column_tiles]
        new = kernel(pairs.count - index * at_once, *documents, *(ops.take(x, apart, axis=0) for x in windows))
        if mirrored:  # a tile meets itself once, with (i, j) and (j, i)
            column_tile = ops.where(row == column, column_end, column_tile)
        places = [row_tile] * outputs[0] + [column_tile] * outputs[1]
        totals = list(sums)
        for number, (x, place) in enumerate(zip(new, places, strict=True)):
            total = number % len(totals)
            totals[total] = totals[total] + ops.segment_sum(x, place, _sizes(totals[total])[0])
        return tuple(totals)

    kinds = [(tall, height)] * outputs[0] + ([] if mirrored else [(wide, width)] * outputs[1])
    zeros = [ops.zeros((lists * tiles + 1, _TILE), dtype=rows[0].dtype) for tiles, _ in kinds]
    totals = loop(add, 0, -(-pairs.count // at_once), tuple(zeros))
    whole = [ops.reshape(x[:-1], (lists, tiles * _TILE)) for x, (tiles, _) in zip(totals, kinds, strict=True)]
    return tuple(x[:, :size] for x, (_, size) in zip(whole, kinds, strict=True))


class _TilePairs:
    """The pairs of tiles that hold valid documents of one list, numbered list by list and row by row.

    If `mirrored`, every tile meets itself and, once, every other tile: tile a meets a, a + 1, ..., a + n/2 of the n
    tiles, counted around.
    """

    def __init__(self, extents: Tensor, first_row: int, height: Any, mirrored: bool) -> None:
        self.mirrored = mirrored
        self.lists = _sizes(extents)[0]
        valid_rows = ops.clip(ops.cast(extents, "int32") - first_row, 0, height)
        self.tiles = -(-extents // _TILE)  # of columns, of each list
        self.partners = self.tiles // 2 + 1 if mirrored else self.tiles  # of each tile of rows
        ends = ops.cumsum(-(-valid_rows // _TILE) * self.partners)
        self.ends = ops.concatenate([ops.zeros((1,), dtype="int32"), ops.cast(ends, "int32")])
        self.count = self.ends[-1]

    def at(self, number: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The numbered pairs: whether there is such a pair, its list, and its tiles of rows and columns there."""
        found = search_sorted(self.ends[None, 1:], number[None, :], "right")[0]
        is_pair = found < self.lists
        found = ops.where(is_pair, found, 0)
        partners = ops.maximum(ops.take(self.partners, found, axis=0), 1)
        place = number - ops.take(self.ends, found, axis=0)
        row, column = place // partners, place % partners
        if self.mirrored:
            tiles = ops.maximum(ops.take(self.tiles, found, axis=0), 1)
            # Of an even number of tiles, those half of it apart would meet twice.
            is_pair = ops.logical_and(is_pair, ops.logical_or(2 * column < tiles, row < column))
            column = (row + column) % tiles
        return is_pair, found, row, column


def _tiles(x: Tensor, tiles: Any) -> Tensor:
    """x [B, N] in tiles, [B·tiles + 1, T]: NaN behind the documents of each list, and in the last tile."""
    lists, size = _sizes(x)
    behind = ops.zeros((lists, tiles * _TILE - size), dtype=x.dtype) + float("nan")
    whole = ops.reshape(ops.concatenate([x, behind], axis=1), (-1, _TILE))
    return ops.concatenate([whole, ops.zeros((1, _TILE), dtype=x.dtype) + float("nan")], axis=0)


def _windows(table: Tensor, tall: Any, wide: Any, first_row: int) -> Tensor:
    """The part of the table that two tiles need, by how many tiles apart they are, [tall + wide - 1, 2T - 1].

    It holds the numbers by i - j, from the last row and first column to the first row and last column: row i needs
    the part of it from place T - 1 - i on.
    """
    tiles_apart = ops.arange(1 - wide, tall, dtype="int32")[:, None]
    distance = ops.abs(first_row + tiles_apart * _TILE + ops.arange(_TILE - 1, -_TILE, -1, dtype="int32")[None, :])
    last = _sizes(table)[0] - 1
    return ops.take(table, ops.where(distance < last, distance, last), axis=0)


def _kernel(
    stripe: Stripe, outputs: tuple[int, int], row_fields: int, column_fields: int, count: Any, *tensors: Tensor
) -> State:
    """The sums of the first `count` pairs of tiles, [M, T] each: rows and columns [M, T], windows [M, 2T - 1]."""
    at_once = min(_PAIRS[has_accelerator()] // _TILE**2, tensors[0].shape[0])

    def add(index: Any, *sums: Tensor) -> State:
        begin = index * at_once
        parts = [ops.slice(x, (begin, 0), (at_once, x.shape[1])) for x in tensors]
        rows = [x[:, :, None] for x in parts[:row_fields]]
        columns = [x[:, None, :] for x in parts[row_fields : row_fields + column_fields]]
        at_distance = [_shifted_windows(x, _TILE) for x in parts[row_fields + column_fields :]]
        to_rows, to_columns = stripe(rows, columns, *(at_distance or [None]))
        return tuple(ops.slice_update(x, (begin, 0), new) for x, new in zip(sums, (*to_rows, *to_columns), strict=True))

    zeros = [ops.zeros_like(tensors[0])] * sum(outputs)
    if at_once == tensors[0].shape[0]:
        return add(0, *zeros)
    count = ops.minimum(count, tensors[0].shape[0])
    return loop(add, 0, -(-count // at_once), tuple(zeros))


def _shifted_windows(x: Tensor, size: int) -> Tensor:
    """x[:, size - 1 - i : 2·size - 1 - i] for i = 0 .. size - 1, [P, size, size].

    Args:
        x: [P, 2·size - 1].
        size: a power of 2.
    """
    rows, shift = x[:, None, :], 1
    while shift < size:
        rows = ops.concatenate([rows[:, :, shift:], rows[:, :, :-shift]], axis=1)
        shift *= 2
    return rows


def _pairs_in_call() -> int:
    """Pairs of documents in a call of the kernel: one stripe where a loop costs more than pairs in vain."""
    return _PAIRS[True] if has_accelerator() else max(_CALL, _PAIRS[False])


def _at_distance(table: Tensor, height: Any, width: Any, shift: Any) -> Tensor:
    """table[|j - i - shift|] for i = 0 .. height - 1, j = 0 .. width - 1."""
    distance = ops.abs(ops.arange(width, dtype="int32")[None, :] - ops.arange(height, dtype="int32")[:, None] - shift)
    last = _sizes(table)[0] - 1
    return ops.take(table, ops.where(distance < last, distance, last), axis=0)


def _to_power_of_two(x: Tensor, filler: float) -> Tensor:
    """x with the filler behind it, each size rounded up to a power of 2."""
    more = [(0, (1 << (size - 1).bit_length()) - size) for size in x.shape]
    return ops.pad(x, more, constant_values=filler)


def _sizes(x: Tensor) -> tuple[Any, ...]:
    """The shape: Python integers where it is static, else tensors."""
    static = tuple(x.shape)
    return static if None not in static else tuple(ops.shape(x)[i] if n is None else n for i, n in enumerate(static))
