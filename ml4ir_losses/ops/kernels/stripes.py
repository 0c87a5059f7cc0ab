"""Sums over all pairs of documents of a list, a stripe of rows at a time, with the memory of one stripe.

A stripe function sees some documents as rows, [G, T, 1], and others as columns, [G, 1, W], works out whatever it wants
of their pairs, [G, T, W], and gives what is left of it: tensors [G, T] of the rows and [G, W] to add to the columns.
The stripes run inside one compiled kernel. Its inner dimension is a whole list, where compilers make good loops, and
its columns are cut to the length of the lists at hand, so that padding costs little. NaN marks padding: a stripe
function must give 0 for it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import reduce
from typing import Any

from ml4ir_losses.core.lazy import Tensor, keras, ops
from ml4ir_losses.ops.kernels.compiling import State, compiled, has_accelerator, loop, of_few_widths, whole

_PAIRS = {False: 2**18, True: 2**24}  # of a stripe, without and with an accelerator: 2^18 stay in a cache
_DENSE = 2**16  # pairs of a batch that are not worth a kernel
_WHOLE = {"tensorflow": 2**26, "jax": 2**26, "torch": 2**24}  # on accelerators: pairs of a batch that is one stripe
_NARROW = 128  # columns; lists are not told apart below it
_LEVELS = 4
_FEW_LISTS = 2  # bits: of 8 lists two lengths are told apart, of 32 four
_FEWEST = 8  # columns: of 4 of float64 XLA on processors makes NaN


class Stripe(ABC):
    """A stripe function: hashable, equal to every other one that does the same."""

    def prepare(self, documents: Sequence[Tensor]) -> Sequence[Tensor]:
        """What the compiled stripes shall know of rows and of columns, [B, R] or [B, N] each, from what was given."""
        return documents

    @abstractmethod
    def __call__(
        self, rows: Sequence[Tensor], columns: Sequence[Tensor], near: Tensor | None
    ) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """To the rows and to the columns; `near` is `steps` of the distance |i - j| of row and column, [T, W], or None.

        A batch of few pairs comes as one stripe, and not prepared.
        """


def stripe_sums(
    stripe: Stripe,
    outputs: tuple[int, int],
    rows: Sequence[Tensor],
    columns: Sequence[Tensor],
    extents: Tensor,
    *,
    first_row: int = 0,
    steps: Tensor | None = None,
) -> list[Tensor]:
    """What the stripe function gives to the rows and adds to the columns, [B, R] each and then [B, N] each.

    For use inside a custom gradient: no gradient flows through it.

    Args:
        outputs: how many tensors it gives to rows and to columns.
        rows, columns: what it needs to know of each document, [B, R] and [B, N], of one dtype; row i is the
            document `first_row` + i. NaN in padding.
        extents: how many leading documents of each list matter, [B].
        steps: a table by distance, [N] at least.
    """
    shape = *_sizes(rows[0]), _sizes(columns[0])[1]
    known = all(isinstance(size, int) for size in shape)
    table = () if steps is None else (steps,)

    def small() -> list[Tensor]:
        near = None if steps is None else _near(steps, shape[1], shape[2], first_row)
        return dense_sums(stripe, rows, columns, near)

    def large() -> list[Tensor]:
        order = ops.argsort(-extents)
        back = ops.argsort(order)
        facts = [of_few_widths(x, float("nan"), shape[1]) for x in rows]
        facts += [of_few_widths(x, float("nan"), shape[2]) for x in columns]
        ordered = [ops.take(x, order, axis=0) for x in (*facts, extents)]
        kernel = compiled(_kernel, stripe, outputs, len(rows), first_row)
        widths = [shape[1]] * outputs[0] + [shape[2]] * outputs[1]
        sums = kernel(*ordered, *[of_few_widths(x[None, :], 0.0, _sizes(x)[0])[0] for x in table])
        return [ops.take(x[:, :width], back, axis=0) for x, width in zip(sums, widths, strict=True)]

    if known:
        count = shape[0] * shape[1] * shape[2]
        if count <= _DENSE:
            return small()
        if has_accelerator() and count <= _WHOLE[keras.backend.backend()]:
            # Every turn of a loop waits for the host; sums over rows are fused, and take next to no memory.
            return list(compiled(_one_stripe, stripe, len(rows), first_row)(*rows, *columns, *table))
        return large()
    # TensorFlow would work out constants [R, N] of the branch that such lists never take.
    long = all(isinstance(size, int) for size in shape[1:]) and shape[1] * shape[2] > _DENSE
    if long or keras.backend.backend() != "tensorflow":
        return large()
    import tensorflow as tf

    # In float: whole numbers of 32 bits overflow.
    pairs = ops.prod([ops.cast(size, "float32") for size in shape])
    dims = [x.shape for x in (*[rows[0]] * outputs[0], *[columns[0]] * outputs[1])]
    sums = tf.cond(pairs <= _DENSE, small, large)
    return [tf.ensure_shape(x, dim) for x, dim in zip(sums, dims, strict=True)]


def dense_sums(stripe: Stripe, rows: Sequence[Tensor], columns: Sequence[Tensor], near: Tensor | None) -> list[Tensor]:
    """The sums from one stripe of all rows: memory B·R·N."""
    to_rows, to_columns = stripe([x[:, :, None] for x in rows], [x[:, None, :] for x in columns], near)
    return [*to_rows, *to_columns]


def extents_of(mask: Tensor) -> Tensor:
    """How many leading documents of each list hold all its valid ones, [B] int32."""
    places = ops.arange(1, _sizes(mask)[1] + 1, dtype="int32")
    # A list of padding in front: there is a maximum also of no list at all. `initial` is on the processor on torch.
    return ops.max(ops.pad(ops.where(mask, places[None, :], 0), ((1, 0), (0, 0))), axis=1)[1:]


def _one_stripe(stripe: Stripe, row_facts: int, first_row: int, *tensors: Tensor) -> State:
    """`stripe_sums` without a loop."""
    facts, steps = _told_apart(tensors)
    (_, height), (_, width) = _sizes(facts[0]), _sizes(facts[-1])
    near = _near(steps[0], height, width, first_row) if steps else None
    return tuple(dense_sums(stripe, stripe.prepare(facts[:row_facts]), stripe.prepare(facts[row_facts:]), near))


def _told_apart(tensors: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """What is known of documents, [B, N], and the others, [B] or [N]."""
    return [x for x in tensors if len(x.shape) == 2], [x for x in tensors if len(x.shape) == 1]


def _kernel(stripe: Stripe, outputs: tuple[int, int], row_facts: int, first_row: int, *tensors: Tensor) -> State:
    """`stripe_sums` of lists sorted by extent, the longest first."""
    facts, (extents, *steps) = _told_apart(tensors)
    (lists, height), width = _sizes(facts[0]), _sizes(facts[-1])[1]
    wide = _at_least(_FEWEST, width)
    levels = _levels(lists, height, wide)
    # Then every stripe of every group is whole, and no row is met twice.
    more_lists = _largest([deep for deep, _, _ in levels])
    more_rows = _largest([tall for _, tall, _ in levels])
    rows = [_padded(x, more_lists, more_rows) for x in stripe.prepare(facts[:row_facts])]
    columns = [_padded(x, more_lists, wide - width) for x in stripe.prepare(facts[row_facts:])]
    extents = ops.concatenate([extents, ops.zeros((more_lists,), dtype=extents.dtype)])
    sums: Sequence[Tensor] = (*[ops.zeros_like(rows[0])] * outputs[0], *[ops.zeros_like(columns[0])] * outputs[1])
    start: Any = 0
    for level, (deep, tall, size) in enumerate(levels):  # the lists of more than half of the columns, of a quarter, ...
        limit = size // 2 if level < len(levels) - 1 else 0
        stop = whole(ops.sum(ops.cast(extents > limit, "int32")))
        last = (-(-height // tall) - 1) * tall  # where the last stripe begins
        near = _near(steps[0], tall, last + size, last + first_row) if steps else None

        def group(
            _: Any, first: Any, *sums: Tensor, deep: Any = deep, tall: Any = tall, size: Any = size,
            near: Tensor | None = near, last: Any = last,
        ) -> State:  # fmt: skip
            own = [ops.slice(x, (first, 0), (deep, size))[:, None, :] for x in columns]
            needed = whole(ops.max(ops.slice(extents, (first,), (deep,)))) - first_row

            def one(index: Any, *sums: Tensor) -> State:
                begin = index * tall
                some = [ops.slice(x, (first, begin), (deep, tall))[:, :, None] for x in rows]
                by_distance = None if near is None else ops.slice(near, (0, last - begin), (tall, size))
                to_rows, to_columns = stripe(some, own, by_distance)
                set_rows = [_put(x, new, first, begin) for x, new in zip(sums[: outputs[0]], to_rows, strict=True)]
                return (*set_rows, *(x + new for x, new in zip(sums[outputs[0] :], to_columns, strict=True)))

            nothing = [ops.zeros((deep, size), dtype=x.dtype) for x in sums[outputs[0] :]]
            done = loop(one, 0, -(-_at_most(height, needed) // tall), (*sums[: outputs[0]], *nothing))
            added = [_put(x, new, first, 0) for x, new in zip(sums[outputs[0] :], done[outputs[0] :], strict=True)]
            return (first + deep, *done[: outputs[0]], *added)

        # `first` is counted up, not start + index · deep: an invariant of the loop that says where a slice begins is a
        # constant to XLA in TensorFlow, which would compile the kernel anew for every batch of other extents.
        _, *sums = loop(group, 0, -(-(stop - start) // deep), (start, *sums))
        start = stop
    heights = [height] * outputs[0] + [width] * outputs[1]
    return tuple(x[:lists, :size] for x, size in zip(sums, heights, strict=True))


def _levels(lists: Any, height: Any, width: Any) -> list[tuple[Any, Any, Any]]:
    """Lists, rows and columns of a stripe, for lists of all columns, of half, of a quarter, ..."""
    pairs = _PAIRS[has_accelerator()]
    count = _LEVELS
    if isinstance(width, int):
        count = min(count, (width // _NARROW).bit_length())
    if isinstance(lists, int):  # each level is code of its own, which few lists do not pay back
        count = min(count, lists.bit_length() - _FEW_LISTS)
    count = max(1, count)
    levels = []
    for level in range(count):
        size = _at_least(1, -(-width // 2**level))
        tall = _at_least(1, _at_most(-(-height // 2**level), _at_least(8, pairs // size)))
        levels.append((_at_most(lists, _at_least(1, pairs // (tall * size))), tall, size))
    return levels


def _near(steps: Tensor, height: Any, width: Any, shift: Any) -> Tensor:
    """steps[|j - i - shift|] for i = 0 .. height - 1, j = 0 .. width - 1."""
    distance = ops.abs(ops.arange(width, dtype="int32")[None, :] - ops.arange(height, dtype="int32")[:, None] - shift)
    last = _sizes(steps)[0] - 1
    return ops.take(steps, ops.where(distance < last, distance, last), axis=0)


def _padded(x: Tensor, more_lists: Any, more_documents: Any) -> Tensor:
    """x with NaN, which marks padding, behind its lists and behind their documents."""
    lists, documents = _sizes(x)
    right = ops.zeros((lists, more_documents), dtype=x.dtype) + float("nan")
    below = ops.zeros((more_lists, documents + more_documents), dtype=x.dtype) + float("nan")
    return ops.concatenate([ops.concatenate([x, right], axis=1), below], axis=0)


def _put(x: Tensor, new: Tensor, first: Any, begin: Any) -> Tensor:
    return ops.slice_update(x, (first, begin), new)


def _sizes(x: Tensor) -> tuple[Any, ...]:
    """The shape: numbers where they are known, else tensors."""
    known = tuple(x.shape)
    return known if None not in known else tuple(ops.shape(x)[i] if n is None else n for i, n in enumerate(known))


def _at_least(low: Any, number: Any) -> Any:
    return max(low, number) if isinstance(low, int) and isinstance(number, int) else ops.maximum(low, number)


def _at_most(high: Any, number: Any) -> Any:
    return min(high, number) if isinstance(high, int) and isinstance(number, int) else ops.minimum(high, number)


def _largest(numbers: list[Any]) -> Any:
    return reduce(_at_least, numbers)
