"""Checks of labels: inputs and orders of rows that give them away, and queries from which nothing is learnt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.data.findings.base import Finding, mixed, query_of_rows, tells_enough
from ml4ir_losses.data.findings.prints import row_prints
from ml4ir_losses.data.queries import Queries

ROWS = 20_000
"""The number of rows in which inputs are compared with the labels."""

_FIRST = 512  # rows that show for nearly every input that it does not determine the label
_REPEATED = 5  # a value tells something about its label if so many rows have it,
_COVERED = 0.9  # and an input, if so large a share of the rows of each label has such values
_SEVERAL = 20  # the fewest documents with a label, and without it, that one value marks not by chance
_SORTED = 0.95
_USELESS = 0.5


def leaking_inputs(split: str, queries: Queries, columns: Mapping[str, Sequence[str]], label: str) -> Iterator[Finding]:
    """Inputs that equal the label, have one label per value, or order the documents of every query by the label."""
    last = max(int(np.searchsorted(queries.offsets, ROWS, "right")) - 1, 1)
    offsets, rows = queries.offsets[: last + 1], int(queries.offsets[last])
    labels, query = queries.labels[label][:rows], query_of_rows(offsets)
    different = mixed(labels, offsets)
    if not tells_enough(queries, np.flatnonzero(different)):
        return
    kept = different[query]
    labels, query = labels[kept], query[kept]
    where = "" if last == len(queries) else f" (seen in the first {rows:,} documents)"
    for name, values in queries.features.items():
        if name in queries.query_scope:
            continue
        for column, x, is_number in _values(name, values[:rows][kept], columns.get(name, ())):
            reason = _reason(x, labels, query, is_number)
            if reason:
                advice = "leave it out of features.inputs unless it is known before the label is"
                yield Finding("label_leak", split, f"the input {column!r} {reason} {label!r}{where}: {advice}")


def _values(name: str, values: Array, columns: Sequence[str]) -> Iterator[tuple[str, Array, bool]]:
    """The columns of an input, [rows], and whether they hold numbers, which have an order."""
    if values.ndim == 2 and values.shape[1] == len(columns) and values.dtype.kind == "f":
        for i, column in enumerate(columns):
            x = values[:, i]
            yield column, np.where(np.isnan(x), np.finfo(x.dtype).min, x), True
    elif values.ndim == 1:
        yield name, values, False
    else:
        yield name, row_prints({name: values}), False


def _reason(x: Array, labels: Array, query: Array, is_number: bool) -> str:
    """How an input gives the label away; "" if it does not."""
    first = slice(0, _FIRST)
    if is_number and np.array_equal(x, labels):
        return "equals the label"
    if _has_one_label(x[first], labels[first], 1) and _has_one_label(x, labels, _REPEATED):
        return "has one label for each of its values: it determines"
    for which, extreme in (("lowest", labels.min()), ("highest", labels.max())):
        marked = labels == extreme
        several = _SEVERAL <= marked.sum() <= len(marked) - _SEVERAL
        if several and _marks(x[first], marked[first]) and _marks(x, marked):
            return f"has one value in all documents with the {which} label and in no other: it gives away"
    if is_number and _orders(x[first], labels[first], query[first]) and _orders(x, labels, query):
        return "alone orders the documents of every query by the label"
    return ""


def _has_one_label(x: Array, labels: Array, times: int) -> bool:
    """True if rows with equal values have equal labels, and values that so many rows have cover most of each label."""
    order = np.argsort(x, kind="stable")
    values, y = x[order], labels[order]
    starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    if (np.minimum.reduceat(y, starts) != np.maximum.reduceat(y, starts)).any():
        return False
    sizes = np.diff(np.append(starts, len(y)))
    if len(sizes) == len(y):
        return False
    repeated = np.repeat(sizes >= times, sizes)
    return all(repeated[y == label].mean() >= _COVERED for label in np.unique(y))


def _marks(x: Array, marked: Array) -> bool:
    """True if all marked rows have one value, and no other row has it."""
    at = np.flatnonzero(marked)
    return not len(at) or bool(((x == x[at[0]]) == marked).all())


def _orders(x: Array, labels: Array, query: Array) -> bool:
    """True if labels rise with the values in every query, or fall in all, and equal values have equal labels."""
    order = np.lexsort((x, query))
    inside = np.diff(query[order]) == 0
    steps, ties = np.diff(labels[order])[inside], np.diff(x[order])[inside] == 0
    if (steps[ties] != 0).any():
        return False
    return bool((steps >= 0).all() or (steps <= 0).all())


def label_order(split: str, queries: Queries, label: str) -> Iterator[Finding]:
    """Rows that are sorted by the label inside the queries."""
    labels, different = queries.labels[label], mixed(queries.labels[label], queries.offsets)
    if not tells_enough(queries, different):
        return
    steps = np.diff(labels, append=labels[-1])
    steps[queries.offsets[1:] - 1] = 0.0  # from the last row of a query to the next query
    for way, sign in (("highest", -1.0), ("lowest", 1.0)):
        is_sorted = np.minimum.reduceat(sign * steps, queries.offsets[:-1]) >= 0
        share = float(is_sorted[different].mean())
        if share >= _SORTED:
            yield Finding(
                "label_order",
                split,
                f"the rows of {share:.0%} of the queries are sorted by {label!r}, the {way} first: truncation and "
                "every tool that keeps the order of equal scores then see the labels. Shuffle the rows of each query",
            )


def useless_queries(split: str, queries: Queries, label: str) -> Iterator[Finding]:
    """Many queries with one document, or with one label in all their documents."""
    alone = queries.sizes == 1
    same = ~mixed(queries.labels[label], queries.offsets)
    if same.mean() >= _USELESS:
        yield Finding(
            "useless_queries",
            split,
            f"{same.sum():,} of {len(queries):,} queries do not have two different labels, and {alone.sum():,} have "
            "one document: no ranking of them is better than another. Is features.query_id the right column?",
        )
