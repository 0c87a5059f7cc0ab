"""The metrics of an evaluation: those of a config at several cut-offs, in our convention or in that of a library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ml4ir_losses.config.base import Spec
from ml4ir_losses.config.checks import metric_name
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.registry import METRICS, split_spec
from ml4ir_losses.data.batching import BatchPlan
from ml4ir_losses.data.queries import Queries
from ml4ir_losses.evaluation.scored_lists import ScoredLists
from ml4ir_losses.evaluation.scoring import MetricSet, QueryMetrics, lower_is_better, query_metrics
from ml4ir_losses.metrics.conventions import ConventionMetrics, convention_metrics
from ml4ir_losses.ops.backend import is_backend

CUTOFFS = (1, 3, 5, 10)
_BATCH, _DOCUMENTS = 1024, 2**20  # the largest batch, in queries and in documents with padding
_LABEL = "label"


class ListMetrics:
    """Per-query metrics of scored lists.

    Args:
        metrics: the metrics of a config; each comes as it is, and at every cut-off where it has one.
        cutoffs: the cut-offs.
        convention: the library whose convention is followed; only the key and `topn` of the metrics are then read.

    Attributes:
        names: of the metrics, in order.
        ours: the metrics in our convention, by name.
        convention: the library, or None.
        left_out: the metrics that the library does not have.

    Raises:
        UserError: for an unknown convention, or one without any of the metrics.
    """

    def __init__(
        self, metrics: Sequence[Spec], cutoffs: Sequence[int] = CUTOFFS, convention: str | None = None
    ) -> None:
        specs = at_cutoffs(metrics, cutoffs)
        self.ours = {metric_name(spec): spec for spec in specs}
        self.convention = convention
        self.left_out: list[str] = []
        self._convention: ConventionMetrics | None = None
        if convention is not None:
            specs, self._convention = self._in_convention(convention, specs)
        # documents without a judgment are irrelevant, except for bpref, which leaves them out
        self._unjudged_left_out = [spec for spec in specs if is_bpref(spec)]
        self._others = [spec for spec in specs if spec not in self._unjudged_left_out]
        self.names = [metric_name(spec) for spec in specs]

    def _in_convention(self, name: str, specs: Sequence[Spec]) -> tuple[list[Spec], ConventionMetrics]:
        convention_metrics(name, [])  # an unknown name is refused first
        known: list[Spec] = []
        for spec in specs:
            try:
                convention_metrics(name, [plain(spec)])
                known.append(plain(spec))
            except UserError as error:
                reason = error
                self.left_out.append(metric_name(spec))
        if not known:
            raise reason
        converted = convention_metrics(name, known)
        return list(converted.specs), converted

    def __call__(self, lists: ScoredLists, scores: Array) -> QueryMetrics:
        """The metrics of the lists, ranked by `scores` [rows]."""
        if self._convention is not None:
            scores = self._convention.scores(lists.offsets, scores, lists.document_ids)
        found = _values(self._others, lists, lists.labels, scores)
        if self._unjudged_left_out:
            bpref = _values(self._unjudged_left_out, lists, lists.judged_labels, scores)
            found = QueryMetrics(found.values | bpref.values, found.weights | bpref.weights, lists.ids)
        values, weights = ({name: part[name] for name in self.names} for part in (found.values, found.weights))
        return QueryMetrics(values, weights, lists.ids)


def plain(spec: Spec) -> Spec:
    """The key of a metric and its cut-off, without other parameters, which a convention sets."""
    key, params = split_spec("metric", spec)
    return {"key": key, **({"topn": params["topn"]} if params.get("topn") else {})}


def is_bpref(spec: Spec) -> bool:
    """True for the metric that leaves out documents without a judgment."""
    return METRICS[split_spec("metric", spec)[0]].key == "bpref"


def at_cutoffs(metrics: Sequence[Spec], cutoffs: Sequence[int]) -> list[Spec]:
    """The metrics, and each of them at every cut-off, ascending; metrics that are to be minimized stay as they are."""
    specs: dict[str, Spec] = {}
    for spec in metrics:
        key, params = split_spec("metric", spec)
        entry = METRICS[key]
        more: list[dict[str, Any]] = []
        if entry.takes("topn") and not lower_is_better(entry.key):
            more = [{"key": key, **params, "topn": cutoff} for cutoff in cutoffs]
        for one in (spec, *more):
            specs.setdefault(metric_name(one), one)
    keys = [METRICS[split_spec("metric", spec)[0]].key for spec in metrics]

    def place(spec: Spec) -> tuple[int, float]:
        key, params = split_spec("metric", spec)
        return keys.index(METRICS[key].key), params.get("topn") or np.inf

    return sorted(specs.values(), key=place)


def _values(specs: Sequence[Spec], lists: ScoredLists, labels: Array, scores: Array) -> QueryMetrics:
    if not specs:
        return QueryMetrics({}, {}, lists.ids)
    queries = Queries(lists.ids, lists.offsets, {}, {_LABEL: labels.astype("float32")}, lists.document_ids)
    size = min(_BATCH, max(1, _DOCUMENTS // int(queries.sizes.max())))
    # JAX compiles every operation for every shape
    plan = BatchPlan(queries, size, bucketing=True, compiled_epochs=1 if is_backend("jax") else None)
    return query_metrics(MetricSet(specs, _LABEL, -np.inf), plan, scores.astype("float32"))
