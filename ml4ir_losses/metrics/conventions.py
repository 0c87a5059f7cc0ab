"""The conventions of other libraries, as parameters of our metrics.

>>> lightgbm = convention_metrics("lightgbm", ["map", {"key": "ndcg", "topn": 10}])
>>> lightgbm.specs[1]["gain"], lightgbm.specs[1]["empty_queries"]
('pow2_minus_1', 'one')

The specs are used like any others, on the scores that `ConventionMetrics.scores` returns: these say what is a tie, and
are already ordered by document id where the library does so. Both are computed query by query, so that the result does
not depend on how the queries are split into batches. docs/conventions.md explains the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError, UserError, unknown_name
from ml4ir_losses.core.registry import METRICS, split_spec

Parameters = Mapping[str, Any]
EmptyWeight = Literal["own", "mean", "value_alone"]

OWN = "ml4ir_losses"


@dataclass(frozen=True)
class Convention:
    """How a library computes its metrics.

    Attributes:
        metrics: the parameters of each metric that the library has, by our key; None: every metric, as it is here.
        tie_order: equal scores keep the order of the rows, or are ordered by document id, the last id first.
        precision: scores that are equal in this precision are ties.
        weighs_queries: query weights count.
        empty_weight: by metric, the weight of a query without a relevant document where queries have weights. `own`:
            like others; `mean`: the mean weight of the other queries; `value_alone`: its value is added without the
            weight, while the weight counts in the divisor.
    """

    metrics: Mapping[str, Parameters] | None = None
    tie_order: Literal["rows", "document_id"] = "rows"
    precision: Literal["float32", "float64"] = "float32"
    weighs_queries: bool = True
    empty_weight: Mapping[str, EmptyWeight] = field(default_factory=dict)

    def parameters(self, key: str) -> Parameters:
        """The parameters of a metric; `KeyError` if the library does not have it."""
        return {} if self.metrics is None else self.metrics[key]


_ZERO, _ONE, _SKIP = ({"empty_queries": policy} for policy in ("zero", "one", "skip"))
_EXPONENTIAL, _LINEAR = {"gain": "pow2_minus_1"}, {"gain": "identity"}
_BINARY = ("mrr", "map", "precision", "recall", "hits", "bpref")


def _with_ties(ties: str, **metrics: Parameters) -> dict[str, Parameters]:
    """The parameters of each metric with its `ties`, unless it has its own."""
    return {key: {"ties": ties, **parameters} for key, parameters in metrics.items()}


CONVENTIONS: dict[str, Convention] = {
    OWN: Convention(),
    "tf_ranking": Convention(
        metrics=_with_ties(
            "average",
            ndcg=_EXPONENTIAL | _ZERO,
            dcg=_EXPONENTIAL | _ZERO,
            **dict.fromkeys(_BINARY, _ZERO),
            pwa={"topn": 5} | _ZERO,
            arp=_SKIP,
            ordered_pair_accuracy={"ties": "worst"} | _SKIP,
        ),
        empty_weight=dict.fromkeys(("ndcg", "dcg", *_BINARY), "mean"),
    ),
    "lightgbm": Convention(
        metrics=_with_ties("order", ndcg=_EXPONENTIAL | _ONE, map={"denominator": "topn"} | _ONE),
        precision="float64",
        empty_weight={"ndcg": "value_alone"},
    ),
    "xgboost": Convention(
        metrics=_with_ties(
            "order",
            ndcg={"topn": 32} | _EXPONENTIAL | _ONE,
            map={"topn": 32, "denominator": "topn"} | _ONE,
            precision={"topn": 32, "denominator": "retrieved"} | _ZERO,
        ),
        empty_weight={"ndcg": "value_alone"},
    ),
    "sklearn": Convention(
        metrics=_with_ties(
            "average", ndcg=_LINEAR | _ZERO, dcg=_LINEAR | _ZERO, map={"ties": "together"} | _ZERO, auc=_SKIP
        ),
        precision="float64",
    ),
    "trec_eval": Convention(
        metrics=_with_ties(
            "order",
            ndcg=_LINEAR | _ZERO,
            **dict.fromkeys(_BINARY, _ZERO) | {"precision": {"denominator": "topn"} | _ZERO},
        ),
        tie_order="document_id",
        weighs_queries=False,
    ),
    "allrank": Convention(
        metrics=_with_ties(
            "order",
            ndcg=_EXPONENTIAL | _ONE,
            dcg=_EXPONENTIAL | _ZERO,
            mrr={"relevance_threshold": "highest"} | _ONE,
        ),
        weighs_queries=False,
    ),
}


@dataclass(frozen=True)
class ConventionMetrics:
    """Metrics in a convention: `specs`, to be computed from the scores that `scores` returns."""

    convention: Convention
    specs: list[dict[str, Any]]

    @property
    def needs_document_ids(self) -> bool:
        """True if equal scores are ordered by document id."""
        return self.convention.tie_order == "document_id"

    def scores(self, offsets: Array, scores: Array, document_ids: Array | None = None) -> Array:
        """Scores whose order and ties are those of the library, float32 [rows]: minus the rank in the query.

        Args:
            offsets: query q holds the rows offsets[q] to offsets[q + 1], [Q + 1].
            scores: [rows]; -inf and NaN stay as they are.
            document_ids: [rows], compared as strings; needed where `needs_document_ids`.

        Raises:
            DataError: if document ids are needed and missing.
        """
        values = np.asarray(scores).astype(self.convention.precision)
        query = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        keys = [-values, query]  # the last key is the first that is compared
        if self.needs_document_ids:
            if document_ids is None:
                raise DataError(
                    "trec_eval orders documents of equal score by their ids: the data have no document ids."
                )
            keys.insert(0, -np.unique(np.asarray(document_ids).astype(str), return_inverse=True)[1])
        order = np.lexsort(keys)
        sorted_values, sorted_query = values[order], query[order]
        below = np.ones(len(order), int)
        if not self.needs_document_ids:
            below[1:] = (sorted_values[1:] != sorted_values[:-1]) | (sorted_query[1:] != sorted_query[:-1])
        rank = np.cumsum(below)
        ranked = np.empty(len(order), "float32")
        ranked[order] = rank[offsets[:-1]][sorted_query] - rank if len(order) else rank
        return np.where(np.isnan(values) | np.isneginf(values), values, ranked).astype("float32")


def convention_metrics(convention: str, metrics: Sequence[str | Mapping[str, Any]]) -> ConventionMetrics:
    """The metrics as the library of this name computes them.

    A parameter that a spec sets itself overrides that of the convention: `{key: ndcg, gain: identity}` for XGBoost's
    `ndcg_exp_gain=False`, or `{key: ndcg, topn: 10, empty_queries: zero}` for its `ndcg@10-`.

    Args:
        convention: `tf_ranking`, `lightgbm`, `xgboost`, `sklearn`, `trec_eval` or `allrank`; `ml4ir_losses` changes
            nothing.
        metrics: keys or `{key: ..., <parameters>}`.

    Raises:
        UserError: for an unknown convention, or a metric that the library does not have.
    """
    if convention not in CONVENTIONS:
        raise UserError(unknown_name("convention", convention, list(CONVENTIONS)))
    known = CONVENTIONS[convention]
    specs = []
    for spec in metrics:
        key, params = split_spec("metric", spec)
        key = METRICS[key].key
        if known.metrics is not None and key not in known.metrics:
            raise UserError(
                f"The convention {convention!r} has no metric {key!r}. Its metrics: {', '.join(known.metrics)}."
            )
        specs.append({"key": key, **known.parameters(key), **params})
    return ConventionMetrics(known, specs)
