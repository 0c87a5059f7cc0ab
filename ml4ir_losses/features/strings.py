"""Columns of strings, read once per distinct value."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from ml4ir_losses.core.arrays import Array


def distinct_counts(strings: Array) -> Iterator[tuple[str, int]]:
    """Each distinct string with the number of its occurrences."""
    counted = pc.value_counts(pa.array(strings))
    return zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True)


def encode_distinct(strings: Array, ids: Callable[[Sequence[str]], Array]) -> Array:
    """The ids of all strings, [rows, ...], where `ids` gives those of a sequence of strings."""
    cells = pa.array(strings).dictionary_encode()
    encoded: Array = ids(cells.dictionary.to_pylist())[cells.indices.to_numpy()]
    return encoded
