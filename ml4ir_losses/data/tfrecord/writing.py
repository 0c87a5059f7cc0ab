"""Records of the rows of tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.data.cells import is_list
from ml4ir_losses.data.tfrecord import wire
from ml4ir_losses.data.tfrecord.kinds import EIE, EIE_CONTEXT, EIE_DOCUMENTS, ELWC, SEQUENCE


class UnknownCellsError(ValueError):
    """Cells of a column that a feature cannot hold."""

    def __init__(self, name: str, cells: str) -> None:
        super().__init__(name)
        self.name, self.cells = name, cells


def examples(rows: Any) -> list[bytes]:
    """The message `Example` of each row of a `pyarrow.Table`; missing cells are left out.

    Raises:
        UnknownCellsError: for a column that holds neither numbers nor text nor bytes nor lists of these.
    """
    columns = [_of_column(name, column, wire.entry) for name, column in _named(rows)]
    features = map(b"".join, zip(*columns, strict=True)) if columns else [b""] * len(rows)
    return [wire.delimited(1, content) for content in features]


def queries(kind: str, context: Any, documents: Any, offsets: Array) -> Iterator[bytes]:
    """The record of each query.

    Args:
        kind: elwc, eie or sequence_example.
        context: a row per query.
        documents: a row per document; query q has the rows offsets[q] to offsets[q + 1].
        offsets: [Q + 1].

    Raises:
        UnknownCellsError: see `examples`.
    """
    bounds = offsets.tolist()
    places = list(pairwise(bounds))
    heads = examples(context)
    if kind == SEQUENCE:
        lists = _feature_lists(documents, places)
        yield from (head + wire.delimited(2, body) for head, body in zip(heads, lists, strict=True))
        return
    bodies = examples(documents)
    for head, (start, end) in zip(heads, places, strict=True):
        if kind == ELWC:
            parts = [wire.delimited(1, document) for document in bodies[start:end]]
            yield b"".join([*parts, wire.delimited(2, head)])
        elif kind == EIE:
            outer = {EIE_CONTEXT: [head], EIE_DOCUMENTS: bodies[start:end]}
            features = b"".join(wire.entry(key, wire.feature(wire.BYTES, values)) for key, values in outer.items())
            yield wire.delimited(1, features)


def _feature_lists(documents: Any, places: Sequence[tuple[int, int]]) -> list[bytes]:
    """The message `FeatureLists` of each query; a feature that all its documents lack is left out."""
    lists = [b""] * len(places)
    empty = wire.delimited(1, b"")
    for name, column in _named(documents):
        items = _of_column(name, column, lambda _, value: wire.delimited(1, value), empty)
        missing = column.is_null().to_numpy(zero_copy_only=False)
        for query, (start, end) in enumerate(places):
            if not missing[start:end].all():
                lists[query] += wire.entry(name.encode(), b"".join(items[start:end]))
    return lists


def _named(rows: Any) -> Iterator[tuple[str, Any]]:
    return ((name, rows[name].combine_chunks()) for name in rows.column_names)


def _of_column(name: str, cells: Any, wrap: Callable[[bytes, bytes], bytes], missing: bytes = b"") -> list[bytes]:
    """The feature of each cell, wrapped with the name; `missing` where there is none."""
    key, kind = name.encode(), _kind(name, cells.type)
    try:
        if is_list(cells.type):
            values = _cast(kind, pc.list_flatten(cells)).to_pylist()
            ends = np.cumsum(pc.list_value_length(cells).fill_null(0).to_numpy())
            starts = [0, *ends[:-1].tolist()]
            found = [wrap(key, wire.feature(kind, values[a:b])) for a, b in zip(starts, ends.tolist(), strict=True)]
        elif kind == wire.FLOAT:
            start = wrap(key, wire.feature(kind, [0.0]))[:-4]  # the same for all values
            packed = _cast(kind, cells).fill_null(0).to_numpy(zero_copy_only=False).astype("<f4").tobytes()
            found = [start + packed[i : i + 4] for i in range(0, len(packed), 4)]
        else:
            encoded = _cast(kind, cells).dictionary_encode()
            different = [wrap(key, wire.feature(kind, [value])) for value in encoded.dictionary.to_pylist()]
            found = [missing if code is None else different[code] for code in encoded.indices.to_pylist()]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UnknownCellsError(name, str(error).partition("\n")[0]) from None
    for row in np.flatnonzero(cells.is_null().to_numpy(zero_copy_only=False)).tolist():
        found[row] = missing
    return found


def _kind(name: str, cells: Any) -> int:
    """The kind of the features of a column."""
    value = cells.value_type if is_list(cells) else cells
    if pa.types.is_integer(value) or pa.types.is_boolean(value):
        return wire.INT64
    if pa.types.is_floating(value) or pa.types.is_decimal(value):
        return wire.FLOAT
    if pa.types.is_nested(value):
        raise UnknownCellsError(name, str(cells))
    return wire.BYTES  # text, bytes; dates as text


def _cast(kind: int, values: Any) -> Any:
    if kind == wire.FLOAT:
        rounded = pc.cast(values, pa.float32(), safe=False)
        if pc.any(pc.and_(pc.is_inf(rounded), pc.is_finite(pc.cast(values, pa.float64())))).as_py():
            raise pa.ArrowInvalid("numbers beyond float32")
        return rounded
    if kind == wire.INT64:
        return pc.cast(values, pa.int64())
    return values if pa.types.is_binary(values.type) else pc.cast(pc.cast(values, pa.string()), pa.binary())
