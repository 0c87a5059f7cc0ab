"""The batching `group_by_label`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError, UserError, check_count
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.core.registry import register_batching
from ml4ir_losses.data.batchings.base import Batching, Rng, Rows


def group_by_label(
    labels: Sequence[Any] | Array, batch_size: int, rng: np.random.Generator | None = None, per_class: int = 2
) -> Iterator[Array]:
    """Batches in which every class that occurs has at least `per_class` rows, for losses that make triplets.

    A class is split into groups of at least `per_class` rows; a class with fewer rows is left out. The groups of one
    class are spread over the batches.

    Args:
        labels: the class of every row.
        batch_size: rows of a batch, at least twice `per_class`; a batch may have a few more where groups are larger.
        rng: draws the order of rows and groups; None: data order.
        per_class: rows of a class in a batch, at least 2.

    Raises:
        UserError: if fewer than two classes have `per_class` rows, and for invalid parameters.
    """
    check_count(batch_size=batch_size, per_class=per_class)
    if per_class < 2 or batch_size < 2 * per_class:
        raise UserError(
            "`per_class` must be at least 2 and `batch_size` at least twice that. "
            f"Received: per_class={per_class}, batch_size={batch_size}."
        )
    labels = np.asarray(labels)
    _, numbers = np.unique(labels, return_inverse=True)
    rounds: list[list[Array]] = []  # the n-th group of every class
    classes = 0
    for number in range(numbers.max(initial=-1) + 1):
        rows = np.flatnonzero(numbers == number)
        rows = rows if rng is None else rng.permutation(rows)
        groups = np.array_split(rows, len(rows) // per_class) if len(rows) >= per_class else []
        classes += bool(groups)
        for place, group in enumerate(groups):
            if place == len(rounds):
                rounds.append([])
            rounds[place].append(group)
    if classes < 2:
        raise UserError(
            f"Grouping by label needs two classes of at least {per_class} rows. "
            f"Received: {classes} in {len(labels)} rows."
        )
    if rng is not None:
        for groups in rounds:
            rng.shuffle(groups)
    batch: list[Array] = []
    for group in chain.from_iterable(rounds):
        batch.append(group)
        if sum(map(len, batch)) + per_class > batch_size:
            yield np.concatenate(batch)
            batch = []
    if len({numbers[group[0]] for group in batch}) > 1:
        yield np.concatenate(batch)


@register_batching("group_by_label")
class GroupByLabel(Batching):
    """Batches in which every class that occurs has at least `per_class` rows, for losses that make triplets.

    Args:
        per_class: rows of a class in a batch; classes with fewer rows are left out.
    """

    needs_label = True

    def __init__(self, per_class: Annotated[int, Ge(2)] = 2) -> None:
        self.per_class = per_class

    def batches(self, rows: Rows, batch_size: int, rng: Rng) -> Iterator[Array]:
        return group_by_label(rows.labels or [], batch_size, rng, self.per_class)

    def check_batch_size(self, size: int) -> None:
        if size < 2 * self.per_class:
            raise UserError(
                f"{self.key} needs two classes in a batch: at least {2 * self.per_class}. Received: {size}."
            )

    def check(self, rows: Rows) -> None:
        names, counts = np.unique(np.array(rows.labels), return_counts=True)
        few = names[counts < self.per_class]
        if len(names) - len(few) < 2:
            raise DataError(
                f"{rows.source}: batches by label need two classes of at least {self.per_class} rows. "
                f"Received: {len(names) - len(few)} of {len(names)} classes."
            )
        if len(few):
            LOGGER.warning(
                "%s: %d of %d classes have fewer than %d rows and are left out, the first %r",
                *(rows.source, len(few), len(names), self.per_class, str(few[0])),
            )
