"""Lists of real rows, of a few sizes, and what Keras gives for them: what an export is compared with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.names import MASK
from ml4ir_losses.data.memory import memory_table
from ml4ir_losses.data.table import Table
from ml4ir_losses.export.features import column_types, input_names
from ml4ir_losses.export.graph import Artifact, Graph
from ml4ir_losses.features.fitted import ColumnType, FittedInput
from ml4ir_losses.features.fitting import encode_rows
from ml4ir_losses.features.kinds.vector import read_vectors
from ml4ir_losses.features.lists import list_texts
from ml4ir_losses.model.relevance_model import RelevanceModel

SIZES = {1: (1,), 7: (7, 3), 1_000: (1_000,)}
"""The numbers of documents at which an export is checked, with the sizes of the lists of each batch."""
MADE_UP, MOST_ROWS = 200, 2_000
"""The numbers of rows that are made up, and of those that are read of data."""


@dataclass(frozen=True)
class Case:
    """A batch for a graph, and the outputs that Keras gives.

    Attributes:
        graph: the name of the graph.
        documents: the size of the longest list.
        inputs: arrays by the names of the graph's inputs.
        expected: arrays by the names of its outputs.
        valid: the entries of the outputs that count, [B, N] or [B]; None: all.
    """

    graph: str
    documents: int
    inputs: Mapping[str, Array]
    expected: Mapping[str, Array]
    valid: Array | None = None


def first_rows(chunks: Iterable[Table], rows: int = MOST_ROWS) -> Table:
    """The first rows of data in chunks.

    Raises:
        DataError: for data without rows.
    """
    found, number = [], 0
    for chunk in chunks:
        found.append(chunk.slice(0, min(len(chunk), rows - number)))
        number += len(found[-1])
        if number >= rows:
            break
    if not number:
        raise DataError("The data that an export is checked on have no rows.")
    return Table.concat(found)


def made_up_rows(inputs: Sequence[FittedInput], rows: int = MADE_UP) -> Table:
    """Rows such as the training split may have had."""
    rng = np.random.default_rng(0)
    texts_first = sorted(inputs, key=lambda fitted: bool(fitted.numbers))  # of one column that is read as both
    cells = {column: cell for fitted in texts_first for column, cell in fitted.made_up(rows, rng).items()}
    return memory_table(cells, "made-up rows")


def list_cases(model: RelevanceModel, artifact: Artifact, graphs: Sequence[Graph], rows: Table) -> Iterator[Case]:
    """Lists of consecutive rows for the graphs of `export.features`."""
    names = input_names([*column_types(model.fitted)])
    given = names.values() if artifact == "serve" else [fitted.name for fitted in model.fitted]
    for documents, sizes in SIZES.items():
        index, mask = list_rows(len(rows), sizes)
        batches: dict[bool, tuple[Any, ...]] = {}  # by whether some documents are padding
        for graph in graphs:
            valid = mask if graph.inputs.keys() != set(given) else np.ones_like(mask)
            padded = not valid.all()
            if padded not in batches:
                encoded, columns = list_batch(model, rows, index, valid)
                batches[padded] = encoded, columns, model(encoded, training=False)
            encoded, columns, output = batches[padded]
            inputs = {names[column]: x for column, x in columns.items()} if artifact == "serve" else encoded
            inputs = {name: inputs.get(name, encoded[MASK]) for name in graph.inputs}
            expected = {name: np.asarray(output[name]) for name in graph.outputs if name in output}
            yield Case(graph.name, documents, inputs, expected, valid)


def list_rows(rows: int, sizes: Sequence[int]) -> tuple[Array, Array]:
    """Row numbers [B, N] of lists of consecutive rows, from the first row again after the last, and their mask."""
    ends = np.cumsum(sizes)
    place = np.arange(max(sizes))
    mask = place < np.array(sizes)[:, None]
    index = (np.array(ends - sizes)[:, None] + place) % rows
    return index, mask


def list_batch(
    model: RelevanceModel, rows: Table, index: Array, mask: Array
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Lists of rows, their numbers [B, N], as the model takes them and by column, [B, N, ...] or [B, ...] each.

    A column of the query has the value of the first document, in all inputs that read it.
    """
    types, table = column_types(model.fitted), rows.take(index.ravel())
    first = pa.array(np.repeat(index[:, 0], index.shape[1]))
    read = [item for fitted in model.fitted for item in fitted.column_types.items()]
    for column in {column for column, kind in read if kind.scope == "query"} & rows.columns.keys():
        table.columns[column] = rows.columns[column].take(first)

    def in_lists(values: Array, scope: str) -> Array:
        values = values.reshape(*index.shape, *values.shape[1:])
        if scope == "query":
            return values[:, 0]
        padded: Array = np.where(
            mask.reshape(*mask.shape, *[1] * (values.ndim - 2)),
            values,
            "" if values.dtype == object else values.dtype.type(0),
        )
        return padded

    encoded = encode_rows(model.fitted, table).arrays
    inputs = {fitted.name: in_lists(encoded[fitted.name], fitted.scope) for fitted in model.fitted}
    columns = {column: in_lists(column_cells(table, column, kind), kind.scope) for column, kind in types.items()}
    return {**inputs, MASK: mask.astype("float32")}, columns


def column_cells(rows: Table, column: str, kind: ColumnType) -> Array:
    """The cells of a column as the tensor of the column holds them, [rows, ...]."""
    if kind.dtype == "string" and kind.shape:
        texts, row, place = list_texts(rows, column)
        cells = np.full((len(rows), int(place.max(initial=0)) + 1), "", object)
        cells[row, place] = texts.to_pylist()
        return cells
    if kind.dtype == "string":
        return rows.strings(column)
    if kind.shape:
        return read_vectors(rows, column, kind.separator, int(kind.shape[0] or 0))
    return rows.matrix([column])[:, 0] if kind.dtype == "float32" else rows.times(column)
