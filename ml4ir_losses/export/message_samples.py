"""Serialized messages of real rows: what the signatures of TF-Ranking and ml4ir are compared with Keras on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.data.table import Table
from ml4ir_losses.data.tfrecord import writing
from ml4ir_losses.data.tfrecord.kinds import ELWC, EXAMPLE, SEQUENCE
from ml4ir_losses.export.features import column_types
from ml4ir_losses.export.graph import Graph
from ml4ir_losses.export.samples import SIZES, Case, list_batch, list_rows
from ml4ir_losses.export.signatures import SCORE
from ml4ir_losses.features.fitted import ColumnType
from ml4ir_losses.model.relevance_model import RelevanceModel


def message_cases(model: RelevanceModel, graphs: Sequence[Graph], rows: Table) -> Iterator[Case]:
    """Lists of consecutive rows for the signatures of messages, as `list_cases` has them for columns."""
    types = column_types(model.fitted)
    for documents, sizes in SIZES.items():
        for graph in graphs:
            kind = _kind(graph)
            index, mask = list_rows(len(rows), sizes)
            if kind == EXAMPLE:
                index, mask = index[mask][:, None], mask[mask][:, None]
            encoded, columns = list_batch(model, rows, index, mask)
            output: Any = model(encoded, training=False)
            (given,), (gives,) = graph.inputs, graph.outputs
            expected, valid = np.asarray(output["score" if gives == SCORE else "logit"]), mask
            if kind == EXAMPLE:
                expected, valid = expected[:, 0], mask[:, 0]
            records = [*_records(kind, types, columns, mask)]
            yield Case(graph.name, documents, {given: np.array(records, object)}, {gives: expected}, valid)


def _kind(graph: Graph) -> str:
    """The kind of messages that a signature takes, by its output."""
    ((name, info),) = graph.outputs.items()
    if name == SCORE:
        return SEQUENCE
    return ELWC if len(info.shape) == 2 else EXAMPLE


def _records(kind: str, types: Mapping[str, ColumnType], columns: Mapping[str, Array], mask: Array) -> Iterator[bytes]:
    """The serialized messages of lists of documents."""
    query = {column: _cells(columns[column]) for column, type_ in types.items() if type_.scope == "query"}
    document = {column: _cells(columns[column][mask]) for column, type_ in types.items() if type_.scope == "document"}
    sizes = mask.sum(axis=1)
    context, documents = (  # a table without any column would have no rows
        pa.table({**cells, "": pa.nulls(rows)}) for cells, rows in ((query, len(mask)), (document, sizes.sum()))
    )
    if kind == EXAMPLE:
        return iter(writing.examples(pa.table({**document, **query})))
    return writing.queries(kind, context, documents, np.concatenate([[0], np.cumsum(sizes)]))


def _cells(values: Array) -> Any:
    """The cells [rows, ...] of a column without what fills lists up; float64 as text, since a feature has float32."""
    if values.dtype == np.float64:
        return pa.array([None if np.isnan(value) else repr(float(value)) for value in values], pa.string())
    if values.ndim == 1:
        return pa.array(values, from_pandas=True)
    kept = [[value for value in row if value == value and value != ""] for row in values.tolist()]
    return pa.array(kept, pa.list_(pa.float32() if values.dtype == np.float32 else pa.string()))
