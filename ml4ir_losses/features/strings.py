"""Columns of strings, read once per distinct value."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml4ir_losses.core.arrays import Array


def distinct_counts(strings: Array) -> Iterator[tuple[str, int]]:
    """Each distinct string with the number of its occurrences."""
    counted = pc.value_counts(pa.array(strings))
    return zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True)


def made_up_values(vocabulary: Sequence[str], rows: int, rng: np.random.Generator) -> list[str]:
    """Values of a vocabulary, some unknown ones, and some missing ones."""
    values = ["", "a value", "another value", *vocabulary[:1000]]
    return [values[i] for i in rng.integers(len(values), size=rows)]


def made_up_texts(vocabulary: Sequence[str], rows: int, words: int, rng: np.random.Generator) -> list[str]:
    """Texts of up to that many words of a vocabulary, with unknown words and punctuation."""
    known = ["Unknown,", "word-s", *vocabulary[:1000]]
    return [
        " ".join(known[i] for i in rng.integers(len(known), size=int(rng.integers(words + 1)))) for _ in range(rows)
    ]


def encode_distinct(strings: Array, ids: Callable[[Sequence[str]], Array]) -> Array:
    """The ids of all strings, [rows, ...], where `ids` gives those of a sequence of strings."""
    cells = pa.array(strings).dictionary_encode()
    encoded: Array = ids(cells.dictionary.to_pylist())[cells.indices.to_numpy()]
    return encoded
