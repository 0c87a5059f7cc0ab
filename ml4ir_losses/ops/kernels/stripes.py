"""Sums over all pairs of documents of a list, computed in stripes of rows, with the memory of one stripe.

`stripe_sums` computes `dense_sums`: a function of all pairs of documents (rows [B, R, 1], columns [B, 1, N]), summed
over the columns for each row, or over the rows for each column. It calls the function on a group of lists and a range
of their rows at a time: rows [G, T, 1], columns [G, 1, W], pairs [G, T, W].

All stripes run inside one compiled kernel. Its inner dimension is a whole list, which compilers turn into fast loops,
and its columns are cut to the longest list of the group, so that padding costs little. NaN marks padding, for which
the function of pairs must contribute 0.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import reduce
from typing import Any

from ml4ir_losses.core.lazy import Tensor, keras, ops
from ml4ir_losses.ops.backend import State, has_accelerator, is_backend, loop, loop_bound
from ml4ir_losses.ops.kernels.compiling import compiled, kernel_shape, padded

_PAIRS = {False: 2**18, True: 2**24}  # pairs in a stripe, without and with an accelerator: 2^18 fit into a CPU cache
_DENSE = 2**16  # batches of up to so many pairs are computed at once, without a kernel
_ONE_STRIPE = {"tensorflow": 2**26, "jax": 2**26, "torch": 2**24}  # on accelerators: up to so many pairs in one stripe
_NARROW = 128  # with fewer columns lists are not grouped by length
_LEVELS = 4  # at most so many groups by length: lists of up to all columns, half of them, a quarter, an eighth
_FEW_LISTS = 2  # bits: 8 lists make up to two groups, 32 lists up to four
_FEWEST = 8  # fewest columns of a kernel: XLA:CPU yields NaN for float64 kernels of width 4


class Stripe(ABC):
    """A function of pairs of documents; hashable and compared by value."""

    def prepare(self, documents: Sequence[Tensor]) -> Sequence[Tensor]:
        """Extends the fields of the documents, [B, R] or [B, N] each, inside a kernel; skipped for small batches."""
        return documents

    @abstractmethod
    def __call__(
        self, rows: Sequence[Tensor], columns: Sequence[Tensor], at_distance: Tensor | None
    ) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Sums for the rows, [G, T] each, and for the columns, [G, W] each.

        Args:
            rows, columns: the fields of the documents, [G, T, 1] and [G, 1, W].
            at_distance: `distance_table[|i - j|]` of row i and column j, [T, W], or None.
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
) -> list[Tensor]:
    """`dense_sums` with the memory of one stripe, [B, R] each, then [B, N] each.

    For use inside a custom gradient: no gradient flows through.

    Args:
        outputs: number of sums for rows, and of sums for columns.
        rows, columns: the fields of the documents, [B, R] and [B, N], of one dtype; NaN in padding. Row i is the
            document `first_row` + i.
        extents: the number of leading documents of each list that may be valid, [B].
        distance_table: numbers by the distance |i - j| of documents, at least N.
    """
    shape = *_sizes(rows[0]), _sizes(columns[0])[1]
    known = all(isinstance(size, int) for size in shape)
    tables = () if distance_table is None else (distance_table,)

    def small() -> list[Tensor]:
        at_distance = None if distance_table is None else _at_distance(distance_table, shape[1], shape[2], first_row)
        return dense_sums(stripe, rows, columns, at_distance)

    def in_kernel(kernel: Any, order: Tensor | None = None) -> list[Tensor]:
        """Calls the kernel on the lists in this order, padded to one of few shapes."""
        height, width = (kernel_shape(shape[0], size, rows[0]) for size in shape[1:])
        fields = [(x, height) for x in rows] + [(x, width) for x in columns]
        lists = [padded(x if order is None else ops.take(x, order, axis=0), *size, float("nan")) for x, size in fields]
        ends = extents if order is None else ops.take(extents, order, axis=0)
        ends = padded(ends[:, None], width[0], 1, 0)[:, 0]
        by_distance = [padded(x[None, :], 1, kernel_shape(1, _sizes(x)[0], x)[1], 0.0)[0] for x in tables]
        widths = [shape[1]] * outputs[0] + [shape[2]] * outputs[1]
        return [x[: shape[0], :size] for x, size in zip(kernel(*lists, ends, *by_distance), widths, strict=True)]

    def large() -> list[Tensor]:
        order = ops.argsort(-extents)
        back = ops.argsort(order)
        sums = in_kernel(compiled(_kernel, stripe, outputs, len(rows), first_row), order)
        return [ops.take(x, back, axis=0) for x in sums]

    if known:
        count = shape[0] * shape[1] * shape[2]
        if count <= _DENSE:
            return small()
        if has_accelerator() and count <= _ONE_STRIPE[keras.backend.backend()]:
            # Every iteration of a loop would wait for the host; the fused sums over rows take almost no memory.
            return in_kernel(compiled(_one_stripe, stripe, len(rows), first_row))
        return large()
    # Such lists never take the small branch, for which TensorFlow would still fold constants [R, N].
    long = all(isinstance(size, int) for size in shape[1:]) and shape[1] * shape[2] > _DENSE
    if long or not is_backend("tensorflow"):
        return large()
    import tensorflow as tf

    # In float: 32-bit integers would overflow.
    pairs = ops.prod([ops.cast(size, "float32") for size in shape])
    dims = [x.shape for x in (*[rows[0]] * outputs[0], *[columns[0]] * outputs[1])]
    sums = tf.cond(pairs <= _DENSE, small, large)
    return [tf.ensure_shape(x, dim) for x, dim in zip(sums, dims, strict=True)]


def extents_of(mask: Tensor) -> Tensor:
    """Number of leading documents of each list up to its last valid one, [B] int32."""
    places = ops.arange(1, _sizes(mask)[1] + 1, dtype="int32")
    # Padded with a 0 in front, for lists without documents; `initial` would be on the CPU on torch.
    return ops.max(ops.pad(ops.where(mask, places[None, :], 0), ((1, 0), (0, 0))), axis=1)[1:]


def _one_stripe(stripe: Stripe, row_fields: int, first_row: int, *tensors: Tensor) -> State:
    """`dense_sums` of prepared documents."""
    fields, (_, *tables) = _by_rank(tensors)
    (_, height), (_, width) = _sizes(fields[0]), _sizes(fields[-1])
    at_distance = _at_distance(tables[0], height, width, first_row) if tables else None
    rows, columns = stripe.prepare(fields[:row_fields]), stripe.prepare(fields[row_fields:])
    return tuple(dense_sums(stripe, rows, columns, at_distance))


def _by_rank(tensors: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """The fields of documents, [B, N], and extents [B] with tables [N]."""
    return [x for x in tensors if len(x.shape) == 2], [x for x in tensors if len(x.shape) == 1]


def _kernel(stripe: Stripe, outputs: tuple[int, int], row_fields: int, first_row: int, *tensors: Tensor) -> State:
    """`stripe_sums` of lists sorted by extent, the longest first."""
    fields, (extents, *tables) = _by_rank(tensors)
    (lists, height), width = _sizes(fields[0]), _sizes(fields[-1])[1]
    wide = _at_least(_FEWEST, width)
    levels = _levels(lists, height, wide)
    # With this padding every stripe of every group is complete, and no row is in two stripes.
    more_lists = _largest([deep for deep, _, _ in levels])
    more_rows = _largest([tall for _, tall, _ in levels])
    rows = [_nan_padded(x, more_lists, more_rows) for x in stripe.prepare(fields[:row_fields])]
    columns = [_nan_padded(x, more_lists, wide - width) for x in stripe.prepare(fields[row_fields:])]
    extents = ops.concatenate([extents, ops.zeros((more_lists,), dtype=extents.dtype)])
    sums: Sequence[Tensor] = (*[ops.zeros_like(rows[0])] * outputs[0], *[ops.zeros_like(columns[0])] * outputs[1])
    start: Any = 0
    for level, (deep, tall, size) in enumerate(levels):  # lists longer than half of the columns, than a quarter, ...
        limit = size // 2 if level < len(levels) - 1 else 0
        stop = loop_bound(ops.sum(ops.cast(extents > limit, "int32")))
        last = (-(-height // tall) - 1) * tall  # where the last stripe begins
        distances = _at_distance(tables[0], tall, last + size, last + first_row) if tables else None

        def group(
            _: Any, first: Any, *sums: Tensor, deep: Any = deep, tall: Any = tall, size: Any = size,
            distances: Tensor | None = distances, last: Any = last,
        ) -> State:  # fmt: skip
            group_columns = [ops.slice(x, (first, 0), (deep, size))[:, None, :] for x in columns]
            needed = loop_bound(ops.max(ops.slice(extents, (first,), (deep,)))) - first_row

            def add_stripe(index: Any, *sums: Tensor) -> State:
                begin = index * tall
                stripe_rows = [ops.slice(x, (first, begin), (deep, tall))[:, :, None] for x in rows]
                at_distance = None if distances is None else ops.slice(distances, (0, last - begin), (tall, size))
                to_rows, to_columns = stripe(stripe_rows, group_columns, at_distance)
                set_rows = [_put(x, new, first, begin) for x, new in zip(sums[: outputs[0]], to_rows, strict=True)]
                return (*set_rows, *(x + new for x, new in zip(sums[outputs[0] :], to_columns, strict=True)))

            zeros = [ops.zeros((deep, size), dtype=x.dtype) for x in sums[outputs[0] :]]
            done = loop(add_stripe, 0, -(-_at_most(height, needed) // tall), (*sums[: outputs[0]], *zeros))
            added = [_put(x, new, first, 0) for x, new in zip(sums[outputs[0] :], done[outputs[0] :], strict=True)]
            return (first + deep, *done[: outputs[0]], *added)

        # `first` is part of the state, not start + index · deep: TensorFlow turns a loop invariant that is the start of
        # a slice into a compile-time constant, and would compile the kernel again for batches of other extents.
        _, *sums = loop(group, 0, -(-(stop - start) // deep), (start, *sums))
        start = stop
    heights = [height] * outputs[0] + [width] * outputs[1]
    return tuple(x[:lists, :size] for x, size in zip(sums, heights, strict=True))


def _levels(lists: Any, height: Any, width: Any) -> list[tuple[Any, Any, Any]]:
    """(lists, rows, columns) of a stripe, for lists of up to all columns, up to half of them, a quarter, ..."""
    pairs = _PAIRS[has_accelerator()]
    count = _LEVELS
    if isinstance(width, int):
        count = min(count, (width // _NARROW).bit_length())
    if isinstance(lists, int):  # each level is more code to compile, which does not pay off for few lists
        count = min(count, lists.bit_length() - _FEW_LISTS)
    count = max(1, count)
    levels = []
    for level in range(count):
        size = _at_least(1, -(-width // 2**level))
        tall = _at_least(1, _at_most(-(-height // 2**level), _at_least(8, pairs // size)))
        levels.append((_at_most(lists, _at_least(1, pairs // (tall * size))), tall, size))
    return levels


def _at_distance(table: Tensor, height: Any, width: Any, shift: Any) -> Tensor:
    """table[|j - i - shift|] for i = 0 .. height - 1, j = 0 .. width - 1."""
    distance = ops.abs(ops.arange(width, dtype="int32")[None, :] - ops.arange(height, dtype="int32")[:, None] - shift)
    last = _sizes(table)[0] - 1
    return ops.take(table, ops.where(distance < last, distance, last), axis=0)


def _nan_padded(x: Tensor, more_lists: Any, more_documents: Any) -> Tensor:
    """x padded with NaN: more lists, and more documents in each list."""
    lists, documents = _sizes(x)
    right = ops.zeros((lists, more_documents), dtype=x.dtype) + float("nan")
    below = ops.zeros((more_lists, documents + more_documents), dtype=x.dtype) + float("nan")
    return ops.concatenate([ops.concatenate([x, right], axis=1), below], axis=0)


def _put(x: Tensor, new: Tensor, first: Any, begin: Any) -> Tensor:
    return ops.slice_update(x, (first, begin), new)


def _sizes(x: Tensor) -> tuple[Any, ...]:
    """The shape: Python integers where it is static, else tensors."""
    static = tuple(x.shape)
    return static if None not in static else tuple(ops.shape(x)[i] if n is None else n for i, n in enumerate(static))


def _at_least(low: Any, number: Any) -> Any:
    return max(low, number) if isinstance(low, int) and isinstance(number, int) else ops.maximum(low, number)


def _at_most(high: Any, number: Any) -> Any:
    return min(high, number) if isinstance(high, int) and isinstance(number, int) else ops.minimum(high, number)


def _largest(numbers: list[Any]) -> Any:
    return reduce(_at_least, numbers)
