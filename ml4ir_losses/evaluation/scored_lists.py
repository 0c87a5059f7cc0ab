"""Scored documents of some queries, and ranks within queries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml4ir_losses.core.arrays import Array


@dataclass
class ScoredLists:
    """The valid documents of some queries; query q holds the rows offsets[q] to offsets[q + 1], at least one.

    Attributes:
        ids: query ids, [Q].
        offsets: [Q + 1].
        labels: [rows].
        scores: what documents are ranked by, [rows]; -inf where a document is not retrieved.
        document_ids: [rows].
        unjudged: True for the documents without a label, which `labels` holds as 0, [rows]; None: all have one.
        probabilities: the activated scores, where they stand for probabilities, [rows].
        baseline: the scores of the baseline, [rows].
        groups: the value of the column by which queries are grouped, [Q].
        positions: 1-based shown ranks, [rows].
        match: the values of the column by which matches are told, [rows].
    """

    ids: Array
    offsets: Array
    labels: Array
    scores: Array
    document_ids: Array
    unjudged: Array | None = None
    probabilities: Array | None = None
    baseline: Array | None = None
    groups: Array | None = None
    positions: Array | None = None
    match: Array | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def judged_labels(self) -> Array:
        """The labels, NaN for the documents without one, [rows]."""
        return self.labels if self.unjudged is None else np.where(self.unjudged, np.nan, self.labels)

    @property
    def query_of_row(self) -> Array:
        """The index of each row's query, [rows]."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def sums(self, values: Array) -> Array:
        """The sum of a value per row over the documents of each query, [Q]."""
        totals: Array = np.add.reduceat(values, self.offsets[:-1])
        return totals

    def highest(self, values: Array) -> Array:
        """The highest value among the documents of each query, [Q]."""
        highest: Array = np.maximum.reduceat(values, self.offsets[:-1])
        return highest

    def ranks(self, scores: Array) -> Array:
        """The 1-based rank of each row in its query by descending score; equal scores share their mean rank, [rows]."""
        query = self.query_of_row
        order = np.lexsort((-scores, query))
        query, ranked = query[order], scores[order]
        starts = np.flatnonzero(np.r_[True, (query[1:] != query[:-1]) | (ranked[1:] != ranked[:-1])])
        sizes = np.diff(np.r_[starts, len(order)])
        shared = starts - self.offsets[query[starts]] + (sizes + 1) / 2
        ranks = np.empty(len(order))
        ranks[order] = np.repeat(shared, sizes)
        return ranks
