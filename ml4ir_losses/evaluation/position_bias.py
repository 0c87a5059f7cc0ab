"""How the scores of a model and the clicks depend on the positions at which documents were shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.evaluation.scored_lists import ScoredLists

LAST = 100  # lower positions are counted with it


@dataclass
class PositionBias:
    """Means by shown position, and how much of the model's order the positions explain.

    Attributes:
        positions: the shown positions; documents shown below `LAST` count there.
        documents: how many were shown at each.
        score: their mean score.
        rank: their mean rank by the model.
        click_rate: the share of them with a label above 0.
        explained: the square of the correlation, within queries, of the model's ranks with the shown positions; None if
            one of them never varies.
        correlation: that correlation.
    """

    positions: list[int]
    documents: list[int]
    score: list[float]
    rank: list[float]
    click_rate: list[float]
    correlation: float | None

    @property
    def explained(self) -> float | None:
        """The share of the variance of the model's ranks within queries that the positions explain."""
        return None if self.correlation is None else self.correlation**2

    def to_json(self) -> dict[str, object]:
        """All of it."""
        return {**vars(self), "explained": self.explained}


class PositionSums:
    """Sums over scored lists from which `PositionBias` follows."""

    def __init__(self) -> None:
        self._by_position = np.zeros((4, LAST + 1))  # documents, scores, ranks, clicks
        self._products = np.zeros((2, 2))

    def add(self, lists: ScoredLists) -> None:
        """Takes the documents of some queries."""
        if lists.positions is None:
            return
        ranks = lists.ranks(lists.scores)
        at = np.minimum(np.rint(lists.positions).astype(int), LAST)
        for sums, values in zip(self._by_position, (None, lists.scores, ranks, lists.labels > 0), strict=True):
            sums += np.bincount(at, weights=values, minlength=LAST + 1)
        centred = np.stack([_centred(lists, values) for values in (ranks, lists.ranks(-lists.positions))])
        self._products += centred @ centred.T

    def result(self) -> PositionBias:
        """The means."""
        documents, *sums = self._by_position
        shown = np.flatnonzero(documents)
        score, rank, clicks = ((values[shown] / documents[shown]).tolist() for values in sums)
        (model, both), (_, position) = self._products
        correlation = float(both / np.sqrt(model * position)) if model > 0 and position > 0 else None
        return PositionBias(shown.tolist(), documents[shown].astype(int).tolist(), score, rank, clicks, correlation)


def _centred(lists: ScoredLists, values: Array) -> Array:
    """The values minus their mean in the query."""
    means = lists.sums(values) / np.diff(lists.offsets)
    centred: Array = values - means[lists.query_of_row]
    return centred
