"""Calibration of probabilities: reliability curves, the expected calibration error, the Brier score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.evaluation.scored_lists import ScoredLists

Binning = Literal["equal_width", "equal_mass"]
ProbabilityOf = Literal["document", "choice"]


@dataclass
class Curve:
    """The bins that hold documents: how many, their mean probability and the share of relevant ones, [bins] each."""

    count: list[int]
    predicted: list[float]
    observed: list[float]

    @property
    def error(self) -> float:
        r"""The expected calibration error Σ_b n_b / n · |observed_b - predicted_b|.

        Source: Naeini, Cooper, Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning" (2015).
        """
        gaps = np.abs(np.array(self.observed) - np.array(self.predicted))
        return float(np.average(gaps, weights=self.count))


def curve(relevant: Array, probabilities: Array, bins: int = 10, binning: Binning = "equal_mass") -> Curve:
    """The reliability curve: the edges of the bins are equally spaced, or quantiles of the probabilities."""
    levels = np.linspace(0.0, 1.0, bins + 1)
    edges = np.quantile(probabilities, levels) if binning == "equal_mass" else levels
    index = np.searchsorted(edges[1:-1], probabilities)
    count = np.bincount(index, minlength=bins)
    kept = count > 0
    predicted, observed = (
        np.bincount(index, weights=values, minlength=bins)[kept] / count[kept] for values in (probabilities, relevant)
    )
    return Curve(count[kept].tolist(), predicted.tolist(), observed.tolist())


@dataclass
class CalibrationResult:
    """Curves in two binnings, and the mean squared error of the probabilities (Brier 1950)."""

    documents: int
    queries_left_out: int
    brier: float
    equal_mass: Curve
    equal_width: Curve

    def to_json(self) -> dict[str, object]:
        """The numbers and the curves' points."""
        curves = {
            name: {"error": points.error, **vars(points)}
            for name, points in (("equal_mass", self.equal_mass), ("equal_width", self.equal_width))
        }
        return {
            "documents": self.documents,
            "queries_left_out": self.queries_left_out,
            "brier": self.brier,
            **curves,
        }


class Calibration:
    """Collects the probabilities of scored lists.

    Args:
        of: each probability is that of a relevant `document`, or those of a query are of the `choice` of one document;
            queries in which not exactly one is relevant are then left out.
    """

    def __init__(self, of: ProbabilityOf) -> None:
        self.of = of
        self._probabilities: list[Array] = []
        self._relevant: list[Array] = []
        self._left_out = 0
        self.reason = ""

    def add(self, lists: ScoredLists) -> None:
        """Takes the documents of some queries."""
        if self.reason or lists.probabilities is None:
            return
        others = (lists.labels != 0) & (lists.labels != 1)
        if others.any():
            label = lists.labels[int(np.argmax(others))]
            self.reason = f"the labels are not all 0 or 1 ({label:g} among them)"
            self._probabilities, self._relevant = [], []
            return
        kept = np.ones(len(lists.labels), bool)
        if self.of == "choice":
            one = lists.sums(lists.labels) == 1
            self._left_out += int((~one).sum())
            kept = one[lists.query_of_row]
        self._probabilities.append(lists.probabilities[kept].astype("float32"))
        self._relevant.append(lists.labels[kept] > 0)

    def result(self) -> CalibrationResult | str:
        """The calibration, or why there is none."""
        if self.reason:
            return self.reason
        probabilities = np.concatenate([*self._probabilities, np.zeros(0)]).astype(float)
        relevant = np.concatenate([*self._relevant, np.zeros(0, bool)]).astype(float)
        if not len(probabilities):
            return "no query has exactly one relevant document"
        return CalibrationResult(
            len(relevant),
            self._left_out,
            float(np.mean((probabilities - relevant) ** 2)),
            curve(relevant, probabilities, binning="equal_mass"),
            curve(relevant, probabilities, binning="equal_width"),
        )
