"""TF-Ranking's metrics: queries without relevance count as 0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ml4ir_losses.compat.facade import Facade
from ml4ir_losses.compat.tf_ranking.utils import TRANSLATE


def _make(key: str, params: dict[str, Any]) -> Any:
    from ml4ir_losses.metrics.ranking import get_metric

    return get_metric(key, **{name: v for name, v in params.items() if v is not None})


def _metric(name: str, key: str, ours: Mapping[str, Any] | None = None, **parameters: Any) -> Facade:
    return Facade(
        name,
        key,
        _make,
        {"name": None, **parameters, "dtype": None, "ragged": False},
        {"empty_queries": "zero"} if ours is None else ours,
        renamed={"gain_fn": "gain", "rank_discount_fn": "discount"},
        only={"ragged": False},
        none={n: function for n, function in _NDCG.items() if n in parameters},
        translate=TRANSLATE,
        doc=f"TF-Ranking's {name}.",
    )


_NDCG = {"gain_fn": "pow_minus_1", "rank_discount_fn": "log2_inverse"}

MRRMetric = _metric("MRRMetric", "mrr", topn=None)
HitsMetric = _metric("HitsMetric", "hits", topn=None)
ARPMetric = _metric("ARPMetric", "arp", {})
PrecisionMetric = _metric("PrecisionMetric", "precision", topn=None)
RecallMetric = _metric("RecallMetric", "recall", topn=None)
MeanAveragePrecisionMetric = _metric("MeanAveragePrecisionMetric", "map", topn=None)
NDCGMetric = _metric("NDCGMetric", "ndcg", topn=None, gain_fn=None, rank_discount_fn=None)
DCGMetric = _metric("DCGMetric", "dcg", topn=None, gain_fn=None, rank_discount_fn=None)
OPAMetric = _metric("OPAMetric", "ordered_pair_accuracy", {})
