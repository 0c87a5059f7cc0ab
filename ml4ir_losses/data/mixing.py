"""Which data set's turn it is: batches of several data sets in one stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np


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
