"""Checks of columns and rows: constant inputs, wrong roles, unknown categories, repeated documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.data.findings.base import Finding, listed, query_of_rows
from ml4ir_losses.data.queries import Queries, Roles
from ml4ir_losses.data.table import Table, group_by_query

_FIRST = 512  # rows that show for nearly every input that it is not constant
_UNKNOWN = 0.05  # the share of unknown categories, beyond that of the training split
_SEVERAL = 20  # cells, of which few may be unknown by chance


def constant_inputs(split: str, queries: Queries, columns: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    """Inputs with one value, or none, in all rows."""
    missing: list[str] = []
    constant: list[str] = []
    for name, values in queries.features.items():
        x, names = values.reshape(len(values), -1), columns.get(name, ())
        if len(names) != x.shape[1] or values.dtype.kind != "f":  # a category, the words of a text, a vector, a date
            names, x = [name], x[:, None, :]
        first = x[:_FIRST]  # most columns differ there
        for i in np.flatnonzero(_is_constant(first)):
            if np.isnan(x[:, i]).all():
                missing.append(names[int(i)])
            elif _is_constant(x[:, i : i + 1]).all():
                constant.append(names[int(i)])
    for found, what in ((missing, "no value in any row"), (constant, "one value in all rows")):
        if found:
            inputs = "input" if len(found) == 1 else "inputs"
            yield Finding("constant_input", split, f"the {inputs} {listed(found)}: {what}")


def _is_constant(x: Array) -> Array:
    """True for the columns of an array [rows, columns, ...] with one value, or none, in all rows, [columns]."""
    same: Array = ((x == x[0]) | ((x != x) & (x[0] != x[0]))).reshape(*x.shape[:2], -1).all(axis=(0, 2))
    return same


def query_scope(split: str, queries: Queries) -> Iterator[Finding]:
    """Inputs with the scope `query` that differ between the documents of a query."""
    for name in sorted(queries.query_scope):
        values = queries.features[name].reshape(queries.rows, -1)
        first = np.repeat(values[queries.offsets[:-1]], queries.sizes, axis=0)
        differs = ((values != first) & ~((values != values) & (first != first))).any(axis=1)
        varying = np.add.reduceat(differs, queries.offsets[:-1]) > 0
        if varying.any():
            yield Finding(
                "query_scope",
                split,
                f"the input {name!r} has scope: query and differs between the documents of {varying.sum():,} of "
                f"{len(queries):,} queries; the first row counts. Give it scope: document",
            )


def query_ids(split: str, queries: Queries, columns: Mapping[str, Sequence[str]], roles: Roles) -> Iterator[Finding]:
    """A query id that is the label, or an input."""
    try:
        ids = np.repeat(np.array([float(text) for text in queries.ids]), queries.sizes)
    except ValueError:
        ids = np.full(queries.rows, np.nan)
    if roles.query_id == roles.label or np.array_equal(ids, queries.labels[roles.label]):
        text = (
            f"the query id {roles.query_id!r} is the label: every query has one label. Give another features.query_id"
        )
        yield Finding("query_id", split, text)
    for name, names in columns.items():
        values = queries.features[name]
        is_number = values.ndim == 2 and values.shape[1] == len(names) and values.dtype.kind == "f"
        same = values[0] == ids[0] if is_number else np.zeros(len(names), bool)  # in the first row, a cheap test
        for i, column in enumerate(names):
            if column == roles.query_id or (same[i] and np.array_equal(values[:, i], ids.astype(values.dtype))):
                text = (
                    f"the input {column!r} is the query id: new queries have other ids. Leave it out of features.inputs"
                )
                yield Finding("query_id", split, text)


def unknown_categories(train: Queries, split: str, queries: Queries) -> Iterator[Finding]:
    """Categories that the training split does not have, or too rarely, so that they share the id 0 with empty cells."""
    for name, ids in queries.features.items():
        if ids.ndim > 1 or ids.dtype.kind != "i":
            continue
        known, ids = (
            data.features[name][data.offsets[:-1]] if name in data.query_scope else data.features[name]
            for data in (train, queries)
        )
        unknown = (ids == 0) | ~np.isin(ids, known)
        share, expected = float(unknown.mean()), float((known == 0).mean())
        if share >= expected + _UNKNOWN and unknown.sum() >= _SEVERAL:
            yield Finding(
                "unknown_category",
                split,
                f"{share:.0%} of the cells of {name!r} are empty or not in its vocabulary, {expected:.0%} in train: "
                "the model knows nothing of these categories. Train on later data, or leave the input out",
            )


def duplicate_documents(split: str, queries: Queries) -> Iterator[Finding]:
    """Documents that occur more than once in a query."""
    codes: Array = pa.array(queries.document_ids).dictionary_encode().indices.to_numpy().astype(np.int64)
    keys = query_of_rows(queries.offsets) * (codes.max() + 1) + codes
    order = np.argsort(keys, kind="stable")
    again = order[1:][np.diff(keys[order]) == 0]
    again = again[queries.document_ids[again] != ""]
    if len(again):
        row = int(again.min())
        query = queries.ids[int(np.searchsorted(queries.offsets, row, "right")) - 1]
        yield Finding(
            "duplicate_document",
            split,
            f"{len(again):,} rows repeat a document of their query, first {queries.document_ids[row]!r} of query "
            f"{query!r}: they count twice in the loss and in the metrics. Keep one row of each",
        )


def split_queries(split: str, table: Table, query_id: str) -> Iterator[Finding]:
    """Queries whose rows lie in several files: they are one query, unless the ids start anew in each file."""
    names = np.array([source.name for source in table.sources], object)
    if len(set(names)) < 2:
        return
    source = np.searchsorted(np.cumsum([source.rows for source in table.sources]), table.origin, "right")
    file = np.unique(names, return_inverse=True)[1][source]
    order, offsets = group_by_query(table.strings(query_id))
    several = np.minimum.reduceat(file[order], offsets[:-1]) < np.maximum.reduceat(file[order], offsets[:-1])
    if several.any():
        yield Finding(
            "split_query",
            split,
            f"{several.sum():,} of {len(several):,} queries have rows in several files, and each is read as one query. "
            "Give ids that no two files share if they are different queries",
        )
