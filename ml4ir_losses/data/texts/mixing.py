"""Batches of several data sets in one stream: which data set comes next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np


def round_robin(batches: Mapping[str, Iterable[Any]]) -> Iterator[tuple[str, Any]]:
    """(name, batch) of the data sets in turn, until one of them is exhausted."""
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
    """(name, batch) of data sets drawn in proportion to their remaining batches, until all are exhausted.

    Args:
        batches: the batches of each data set.
        sizes: number of batches of each data set.
        rng: draws the next data set.
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
