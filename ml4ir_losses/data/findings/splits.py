"""Checks of two splits: queries and documents that are in both."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import combinations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.data.findings.base import Finding
from ml4ir_losses.data.findings.prints import Prints, repeated
from ml4ir_losses.data.queries import Queries

_PROFILED = 200  # queries with an id in both splits whose query columns are compared
_PROBED = 8  # rows that show that a column is equal in all rows of a query
_IDENTIFYING = 0.01  # the most queries that may be equal by chance, where equal ones are taken for the same query
_EXCESS = 0.05  # the share of documents in both splits, beyond the share that recurs inside the first one
_SAME = "the same documents. Keep a query in one split"
_OTHER = "other documents. Split by query, not by row (data.split), unless they are users with rows of another time"
_COUNTER = re.compile(r"[A-Za-z_\-]*(\d{1,15})")


def shared_data(splits: Mapping[str, Queries], has_document_ids: bool) -> Iterator[Finding]:
    """Queries and documents that two splits share; ids that start anew in each split are no shared queries."""
    names = set.intersection(*(set(queries.features) for queries in splits.values()))  # training may read more
    if not names:
        return
    prints = {
        split: Prints(queries, {name: queries.features[name] for name in names}) for split, queries in splits.items()
    }
    for first, second in combinations(prints, 2):
        a, b = prints[first], prints[second]
        equal, related = _shared_queries(a, b)
        if equal.all():
            text = f"every query is in {first} too, with the same documents: it measures what was learnt by heart"
            yield Finding("shared_queries", second, text)
            continue
        for key, chosen, how in (("shared_queries", equal, _SAME), ("shared_query_ids", related, _OTHER)):
            if chosen.any():
                text = f"{chosen.sum():,} of {len(chosen):,} queries, first {b.data.ids[chosen.argmax()]!r}"
                yield Finding(key, second, f"{text}: in {first} too, with {how}")
        yield from _shared_documents(first, second, a, b, ~(equal | related)[b.query], has_document_ids)


def _shared_queries(a: Prints, b: Prints) -> tuple[Array, Array]:
    """Queries of b that are in a with equal documents, and with others, [Q] each."""
    found = pc.index_in(pa.array(b.data.ids), value_set=pa.array(a.data.ids))
    known, place = pc.is_valid(found).to_numpy(False), pc.fill_null(found, 0).to_numpy()
    equal = known & (a.queries[place] == b.queries)
    if equal.sum() <= 5 * known.sum() * a.collision:
        equal[:] = False
    if a.collision * len(a.data) <= _IDENTIFYING:
        equal |= np.isin(b.queries, a.queries) & (b.data.sizes > 1)
    candidates = np.flatnonzero(known & ~equal)
    related = np.zeros(len(b.data), bool)
    related[candidates] = _same_queries(a, b, place[candidates], candidates)
    return equal, related


def _same_queries(a: Prints, b: Prints, in_a: Array, in_b: Array) -> Array:
    """Which pairs of queries with equal ids are one query, [pairs]: by their query columns, else by their ids."""
    if not len(in_b):
        return np.zeros(0, bool)
    some = np.linspace(0, len(in_b) - 1, min(len(in_b), _PROFILED)).astype(int)
    profiles = _query_columns(a, b, in_a[some], in_b[some])
    if profiles is None:
        return np.full(len(in_b), not _is_counted(a.data.ids))
    left, right = profiles
    agree = ((left == right) | (np.isnan(left) & np.isnan(right))).all(axis=1)
    same = np.full(len(in_b), agree.mean() > 0.5)
    same[some] = agree
    return same


def _query_columns(a: Prints, b: Prints, in_a: Array, in_b: Array) -> tuple[Array, Array] | None:
    """The numbers that all rows of a query share, by query, in both splits; None if they tell too little."""
    kept = []
    for name in a.features:
        sides = [_first_rows(side.data, name, queries) for side, queries in ((a, in_a), (b, in_b))]
        constant = np.ones(sides[0].shape[2], bool)
        for x in sides:
            first = x[:, :1]
            constant &= ((x == first) | (np.isnan(x) & np.isnan(first))).all(axis=(0, 1))
        kept.append([x[:, 0, constant] for x in sides])
    ours, theirs = (np.concatenate(parts, axis=1) for parts in zip(*kept, strict=True))
    distinct = len(np.unique(np.nan_to_num(ours), axis=0)) if ours.shape[1] else 0
    several = (a.data.sizes[in_a] > 1).mean() > 0.5
    return (ours, theirs) if several and distinct > max(len(ours) / 2, 1) else None


def _first_rows(data: Queries, name: str, queries: Array) -> Array:
    """An input of the first rows of queries, [queries, _PROBED, columns]; shorter queries repeat their last row."""
    place = np.minimum(np.arange(_PROBED), data.sizes[queries, None] - 1)
    rows = data.offsets[queries, None] + place
    values: Array = data.features[name][rows].reshape(*rows.shape, -1).astype(float)
    return values


def _is_counted(ids: Array) -> bool:
    """True for ids that count the queries, such as 1, 2, 3 or q1, q2, q3, and so start anew in every file."""
    numbers = [match[1] for text in ids[:_PROFILED] if (match := _COUNTER.fullmatch(str(text)))]
    return len(numbers) == len(ids[:_PROFILED]) and max(map(int, numbers)) <= 100 * len(ids)


def _shared_documents(
    first: str, second: str, a: Prints, b: Prints, rows: Array, has_document_ids: bool
) -> Iterator[Finding]:
    """More documents in both splits than the first split alone lets expect."""
    some = rows & a.sampled(b.rows)
    if not some.any():
        return
    share = float(np.isin(b.rows[some], a.rows[a.sampled(a.rows)]).mean())
    if share >= a.repeated_rows + _EXCESS:
        yield Finding(
            "shared_documents",
            second,
            f"{share:.0%} of the documents have the features of a document in {first}; inside {first}, "
            f"{a.repeated_rows:.0%} recur in another query. Are rows repeated under other query ids?",
        )
    if has_document_ids:
        known = pa.array(a.data.document_ids)
        within = repeated(known.dictionary_encode().indices.to_numpy(), a.query)
        share = float(pc.mean(pc.is_in(pa.array(b.data.document_ids[rows]), value_set=known)).as_py())
        if share >= within + 0.5:
            yield Finding(
                "shared_documents",
                second,
                f"{share:.0%} of the documents are in {first} too, by their ids; inside {first}, {within:.0%} recur in "
                "another query. Split by what they have in common (data.split.by: column)",
            )
