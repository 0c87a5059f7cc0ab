"""Why one document is ranked above another: what each feature adds to the difference of their logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import UserError


@dataclass(frozen=True)
class Explanation:
    """What each feature adds to the logits of some documents of a query, compared with the last of them.

    Attributes:
        query: the id of the query.
        documents: the ids of the D documents; the last one is what the others are compared with.
        logits: their logits, [D].
        ranks: their ranks among all documents of the query, from 1, [D].
        features: the names of the F features.
        contributions: [D, F]; the differences between two documents sum to the difference of their logits.
        errors: the standard errors of the contributions, [D, F]; 0 where they are exact, NaN where unknown.
        method: `exact`, `permutation` or `shap`.
        cells: what the documents have in the columns of each feature, [D, F].
        score: what the logits are: `logit`, or the `cosine` or `dot` product of a model that embeds texts.
    """

    query: str
    documents: Sequence[str]
    logits: Array
    ranks: Array
    features: Sequence[str]
    contributions: Array
    errors: Array
    method: str
    cells: Sequence[Sequence[str]] = ()
    score: str = "logit"

    def why(self, a: int = 0, b: int = -1) -> list[tuple[str, float]]:
        """(feature, what it adds to the logit of document a less that of document b), the largest first."""
        difference = self.contributions[a] - self.contributions[b]
        return [(self.features[i], float(difference[i])) for i in np.argsort(-np.abs(difference), kind="stable")]

    def as_json(self) -> dict[str, Any]:
        """The explanation in lists, numbers and strings."""
        return {
            "query": self.query,
            "method": self.method,
            "score": self.score,
            "features": list(self.features),
            "documents": [
                {
                    "document": document,
                    "rank": int(rank),
                    self.score: float(logit),
                    "contributions": contributions.tolist(),
                    "errors": [float(error) if np.isfinite(error) else None for error in errors],
                    **({"cells": list(self.cells[i])} if self.cells else {}),
                }
                for i, (document, rank, logit, contributions, errors) in enumerate(
                    zip(self.documents, self.ranks, self.logits, self.contributions, self.errors, strict=True)
                )
            ],
        }

    def comparison(self, top: int, a: int = 0, b: int = -1) -> list[tuple[str, str, str, float, float]]:
        """(feature, its cells in documents a and b, what it adds, standard error), the largest first.

        Features after the first `top` are summed in a row of their own.
        """
        place = {feature: i for i, feature in enumerate(self.features)}
        ranked = self.why(a, b)
        cells = [self.cells[a], self.cells[b]] if self.cells else [[""] * len(place)] * 2
        errors = np.hypot(self.errors[a], self.errors[b])
        rows = [
            (feature, cells[0][place[feature]], cells[1][place[feature]], added, float(errors[place[feature]]))
            for feature, added in ranked[:top]
        ]
        if len(ranked) > top:
            rest = sum(added for _, added in ranked[top:])
            rows.append((f"{len(ranked) - top} others", "", "", rest, float("nan")))
        return rows


def ranks_of(scores: Array) -> Array:
    """The rank of each document by descending score, from 1, [N]; equal scores keep their order."""
    ranks = np.empty(len(scores), int)
    ranks[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
    return ranks


def check_compared(chosen: Sequence[int], documents: int) -> None:
    """Raises `UserError` unless the chosen numbers are those of at least two of the documents of a query."""
    if documents < 2:
        raise UserError("the query has one document: there is none to compare it with.")
    if len(chosen) < 2 or len(set(chosen)) < len(chosen):
        raise UserError(f"`documents` must be at least two different ones. Received: {list(chosen)}.")
    for row in chosen:
        if not 0 <= row < documents:
            raise UserError(f"`documents` must be from 0 to {documents - 1}. Received: {row}.")
