"""Which rows of text data make a batch: generators of row numbers, and of the data set whose turn it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import UserError, check_count


def in_order(rows: int, batch_size: int, rng: np.random.Generator | None = None) -> Iterator[Array]:
    """Every row once, in a random order, or in theirs for `rng=None`; the last batch may have fewer rows."""
    check_count(batch_size=batch_size)
    order = np.arange(rows) if rng is None else rng.permutation(rows)
    for start in range(0, rows, batch_size):
        yield order[start : start + batch_size]


def no_duplicates(
    texts: Sequence[Sequence[str]], batch_size: int, rng: np.random.Generator | None = None
) -> Iterator[Array]:
    """Every row once, and no text twice in a batch: a copy of a positive would be taken for a negative.

    A row that does not fit waits for the next batch. When nothing that waits fits any more, a batch has fewer rows.

    Args:
        texts: the texts of every row; rows may have the same text twice themselves.
        batch_size: rows of a batch.
        rng: draws the order of the rows; None: theirs.
    """
    check_count(batch_size=batch_size)
    order = iter(range(len(texts)) if rng is None else rng.permutation(len(texts)).tolist())
    waiting: list[int] = []
    while True:
        batch: list[int] = []
        seen: set[str] = set()
        still: list[int] = []
        first = iter(waiting)
        for row in chain(first, order):
            if seen.isdisjoint(texts[row]):
                batch.append(row)
                seen.update(texts[row])
                if len(batch) == batch_size:
                    break
            else:
                still.append(row)
        if not batch:
            return
        waiting = [*still, *first]  # what does not fit, and what was not looked at
        yield np.array(batch)


def group_by_label(
    labels: Sequence[Any] | Array, batch_size: int, rng: np.random.Generator | None = None, per_class: int = 2
) -> Iterator[Array]:
    """Batches in which every class that is there has `per_class` rows at least, for losses that make triplets.

    A class is split into groups of `per_class` rows, the last of which takes what is left over; a class of fewer rows
    is left out. Groups are spread over the batches, of one class as far apart as can be.

    Args:
        labels: the class of every row.
        batch_size: rows of a batch, at least twice `per_class`; a batch may have a few more where groups are larger.
        rng: draws the order of rows and groups; None: theirs.
        per_class: rows of a class in a batch, at least 2.

    Raises:
        ValueError: where fewer than two classes have `per_class` rows, and for values that are not allowed.
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


def contrastive_pairs(
    rows: int, batch_size: int, rng: np.random.Generator | None = None, negatives: int = 7
) -> Iterator[tuple[Array, Array, Array]]:
    """(anchors, others, labels) for contrastive tension: every row with itself, 1, and with other rows, 0.

    Args:
        rows: how many texts there are, 2 at least.
        batch_size: pairs of a batch; the last one may have fewer.
        rng: draws the order and the other rows; None: their order, and the rows that follow.
        negatives: pairs with another row for each pair with itself.
    """
    check_count(batch_size=batch_size, negatives=negatives)
    if rows < 2:
        raise UserError(f"Pairs of different texts need two rows at least. Received: {rows}.")
    order = np.arange(rows) if rng is None else rng.permutation(rows)
    steps = np.arange(negatives) % (rows - 1) + 1
    for start in range(0, rows * (1 + negatives), batch_size):
        pair = np.arange(start, min(start + batch_size, rows * (1 + negatives)))
        anchors, turn = order[pair // (1 + negatives)], pair % (1 + negatives)
        away = steps[np.maximum(turn, 1) - 1] if rng is None else rng.integers(1, rows, len(pair))
        yield anchors, np.where(turn == 0, anchors, (anchors + away) % rows), (turn == 0).astype("float32")


def round_robin(batches: Mapping[str, Iterable[Any]]) -> Iterator[tuple[str, Any]]:
    """(name, batch) of the data sets in turn, until the first of them has no more."""
    iterators = {name: iter(source) for name, source in batches.items()}
    while iterators:
        for name, iterator in iterators.items():
            try:
                batch = next(iterator)
            except StopIteration:
                return
            yield name, batch


def proportional(
    batches: Mapping[str, Iterable[Any]], sizes: Mapping[str, int], rng: np.random.Generator
) -> Iterator[tuple[str, Any]]:
    """(name, batch) of data sets drawn by how many batches they have left, until all have given theirs.

    Args:
        batches: the batches of each data set.
        sizes: how many batches each has.
        rng: draws whose turn it is.
    """
    iterators, left = {name: iter(source) for name, source in batches.items()}, dict(sizes)
    while iterators:
        names = list(iterators)
        weight = np.array([max(left[name], 1) for name in names], dtype="float64")
        name = names[int(rng.choice(len(names), p=weight / weight.sum()))]
        try:
            batch = next(iterators[name])
        except StopIteration:
            del iterators[name]
            continue
        left[name] -= 1
        yield name, batch
