"""Collects scored lists, some queries at a time, into an `Evaluation`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.evaluation.calibration import Calibration, ProbabilityOf
from ml4ir_losses.evaluation.click_metrics import click_metrics
from ml4ir_losses.evaluation.convention_gap import ConventionGap
from ml4ir_losses.evaluation.evaluation import Evaluation
from ml4ir_losses.evaluation.list_metrics import ListMetrics
from ml4ir_losses.evaluation.position_bias import PositionSums
from ml4ir_losses.evaluation.scored_lists import ScoredLists
from ml4ir_losses.evaluation.scoring import QueryMetrics, joined
from ml4ir_losses.evaluation.summary import summarize
from ml4ir_losses.evaluation.tied_scores import tied_documents

_TOLD = 0.01  # a smaller share of tied documents is not worth a line


class Collector:
    """Evaluates scored lists as they come; of past lists only values per query are kept, and probabilities.

    Args:
        metrics: the metrics.
        clicks: add the average click rank and, where the lists have a `match`, the failures to rank matches.
        calibration: what the probabilities are of; None: there are none.
        explain: the metric whose gap between our convention and another is explained; it keeps all documents.
        seed: orders equal scores where a metric needs one order.
    """

    def __init__(
        self,
        metrics: ListMetrics,
        *,
        clicks: bool = False,
        calibration: ProbabilityOf | None = None,
        explain: str | None = None,
        seed: int = 0,
    ) -> None:
        self.metrics, self.clicks = metrics, clicks
        self.calibration = None if calibration is None else Calibration(calibration)
        self.gap = None if explain is None else ConventionGap(metrics, explain)
        self.positions: PositionSums | None = None
        self.queries, self.documents = 0, 0
        self._tied, self._ranked = 0, 0
        self._rngs = [np.random.default_rng(seed) for _ in range(2)]
        self._groups: list[Array] = []
        self._model: list[QueryMetrics] = []
        self._baseline: list[QueryMetrics] = []

    def add(self, lists: ScoredLists) -> None:
        """Evaluates some queries, all documents of each."""
        self.documents += len(lists.labels)
        self.queries += len(lists)
        ranked = lists.scores > -np.inf
        self._ranked += int(ranked.sum())
        if ranked.any():
            score = lists.scores[ranked].astype("float32")
            self._tied += tied_documents(lists.query_of_row[ranked], lists.labels[ranked], score)
        self._model.append(self._values(lists, lists.scores, self._rngs[0]))
        if lists.baseline is not None:
            self._baseline.append(self._values(lists, lists.baseline, self._rngs[1]))
        if lists.groups is not None:
            self._groups.append(lists.groups)
        if self.calibration is not None:
            self.calibration.add(lists)
        if self.gap is not None:
            self.gap.add(lists)
        if lists.positions is not None:
            self.positions = self.positions or PositionSums()
            self.positions.add(lists)

    def _values(self, lists: ScoredLists, scores: Array, rng: np.random.Generator) -> QueryMetrics:
        found = self.metrics(lists, scores)
        if self.clicks:
            more = click_metrics(lists, scores, rng)
            found = QueryMetrics(found.values | more.values, found.weights | more.weights, lists.ids)
        return found

    def result(
        self, name: str, data: str, main: Sequence[str], *, group_by: str = "", baseline: str = ""
    ) -> Evaluation:
        """The evaluation of all lists so far; `main` are the names of the config's metrics."""
        evaluation = summarize(
            joined(self._model),
            baseline=joined(self._baseline) if self._baseline else None,
            groups=np.concatenate(self._groups) if self._groups else None,
            column=group_by,
        )
        evaluation.name, evaluation.data, evaluation.documents = name, data, self.documents
        evaluation.baseline, evaluation.convention = baseline, self.metrics.convention
        if self.metrics.left_out:
            left_out = ", ".join(self.metrics.left_out)
            evaluation.notes.append(f"{left_out}: {self.metrics.convention} has no such metric, left out")
        if self._tied > _TOLD * self._ranked:
            share = self._tied / self._ranked
            evaluation.notes.append(
                f"{share:.1%} of the documents have the score of another one with a different label"
            )
        evaluation.main = [metric for metric in main if metric in evaluation.estimates]
        if self.calibration is not None:
            calibration = self.calibration.result()
            if isinstance(calibration, str):
                evaluation.notes.append(f"calibration is left out: {calibration}")
            else:
                evaluation.calibration = calibration
        if self.gap is not None:
            evaluation.gap = self.gap.result()
        if self.positions is not None:
            evaluation.positions = self.positions.result()
        return evaluation
