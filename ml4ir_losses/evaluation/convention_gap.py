"""Why the value of a metric in the convention of a library is not ours."""

from __future__ import annotations

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import UserError, unknown_name
from ml4ir_losses.evaluation.explain_metric import MetricGap, explain_metric
from ml4ir_losses.evaluation.list_metrics import ListMetrics, is_bpref, plain
from ml4ir_losses.evaluation.scored_lists import ScoredLists


class ConventionGap:
    """Collects the labels and scores of all documents, from which the gap of one metric is explained.

    Args:
        metrics: the metrics of the evaluation.
        name: one of them.

    Raises:
        UserError: without a convention, and for another name.
    """

    def __init__(self, metrics: ListMetrics, name: str) -> None:
        if metrics.convention is None:
            raise UserError("--explain-metric: explains the gap between a convention and ours; it needs --convention.")
        known = [metric for metric in metrics.ours if metric not in metrics.left_out]
        if name not in known:
            raise UserError(f"--explain-metric: {unknown_name('metric', name, known)}")
        self.convention, self.spec = metrics.convention, metrics.ours[name]
        self._columns: list[tuple[Array, Array, Array, Array]] = []

    def add(self, lists: ScoredLists) -> None:
        """Takes the documents of some queries."""
        labels = lists.judged_labels if is_bpref(self.spec) else lists.labels
        self._columns.append((lists.ids[lists.query_of_row], labels, lists.scores, lists.document_ids))

    def result(self) -> MetricGap:
        """The steps from our value to that of the convention."""
        queries, labels, scores, document_ids = (np.concatenate(column) for column in zip(*self._columns, strict=True))
        return explain_metric(
            self.spec,
            "ml4ir_losses",
            self.convention,
            queries,
            labels,
            scores,
            document_ids=document_ids,
            to_metric=plain(self.spec),
            min_label=-np.inf,
        )
