"""TF-Ranking's Keras metrics by class name and by key: queries without relevance count as 0.

TF-Ranking ranks documents with equal scores at random; these metrics are the expected value over their orders.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, ClassVar

import keras

from ml4ir_losses.compat.peer import PeerKerasClass, peer_signature
from ml4ir_losses.compat.tf_ranking.base import RAGGED_NOTE, TRANSLATE
from ml4ir_losses.compat.tf_ranking.inputs import dense_inputs
from ml4ir_losses.core.errors import UserError, unknown_name
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.metrics.keras_metric import RankingMetric
from ml4ir_losses.metrics.ties import Ties
from ml4ir_losses.ops.backend import without_autograph
from ml4ir_losses.ops.gains import DiscountSpec, GainSpec

__all__ = [
    "ARPMetric",
    "AlphaDCGMetric",
    "DCGMetric",
    "HitsMetric",
    "MRRMetric",
    "MeanAveragePrecisionMetric",
    "NDCGMetric",
    "OPAMetric",
    "PrecisionIAMetric",
    "PrecisionMetric",
    "RankingMetricKey",
    "RecallMetric",
    "default_keras_metrics",
    "get",
]


class PeerMetric(PeerKerasClass, RankingMetric):
    """A Keras metric under TF-Ranking's name."""

    package = "ml4ir_losses.tf_ranking"
    renamed = {"gain_fn": "gain", "rank_discount_fn": "discount"}
    no_effect: ClassVar[Collection[str]] = ("ragged",)
    notes = {"ragged": RAGGED_NOTE}
    when_none = {"gain_fn": "pow_minus_1", "rank_discount_fn": "log2_inverse"}
    translate = TRANSLATE

    def _build(self, params: dict[str, Any]) -> None:
        given = {name: value for name, value in params.items() if value is not None}
        if "name" not in given:
            given["name"] = self._default_name()
        super()._build({"key": type(self).key, **given})

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        """Adds a batch."""
        super().update_state(*without_autograph(dense_inputs)(y_true, y_pred, sample_weight))

    def get_config(self) -> dict[str, Any]:
        """The arguments, with the name also where it is the default."""
        return {**super().get_config(), "name": self.name}

    @classmethod
    def _default_name(cls) -> str:
        """The name that Keras gives TF-Ranking's class: `ndcg_metric`, and `ndcg_metric_1` for the next one."""
        name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", cls.__name__)
        name = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
        number = keras.backend.get_uid(name)
        return name if number == 1 else f"{name}_{number - 1}"


class _MetricOfFirst(PeerMetric):
    @peer_signature
    def __init__(
        self,
        name: str | None = None,
        topn: int | None = None,
        dtype: str | None = None,
        ragged: bool = False,
        *,
        empty_queries: str = "zero",
    ) -> None: ...


class _GainMetric(PeerMetric):
    @peer_signature
    def __init__(
        self,
        name: str | None = None,
        topn: int | None = None,
        gain_fn: GainSpec | None = None,
        rank_discount_fn: DiscountSpec | None = None,
        dtype: str | None = None,
        ragged: bool = False,
        *,
        empty_queries: str = "zero",
    ) -> None: ...


class _MetricOfAll(PeerMetric):
    @peer_signature
    def __init__(self, name: str | None = None, dtype: str | None = None, ragged: bool = False) -> None: ...


class MRRMetric(_MetricOfFirst, key="mrr"):
    """TF-Ranking's MRRMetric."""


class HitsMetric(_MetricOfFirst, key="hits"):
    """TF-Ranking's HitsMetric."""


class PrecisionMetric(_MetricOfFirst, key="precision"):
    """TF-Ranking's PrecisionMetric."""


class RecallMetric(_MetricOfFirst, key="recall"):
    """TF-Ranking's RecallMetric."""


class MeanAveragePrecisionMetric(_MetricOfFirst, key="map"):
    """TF-Ranking's MeanAveragePrecisionMetric."""


class NDCGMetric(_GainMetric, key="ndcg"):
    """TF-Ranking's NDCGMetric."""


class DCGMetric(_GainMetric, key="dcg"):
    """TF-Ranking's DCGMetric."""


class PrecisionIAMetric(_MetricOfFirst, key="precision_ia"):
    """TF-Ranking's PrecisionIAMetric, of labels [B, N, S]."""


class AlphaDCGMetric(PeerMetric, key="alpha_dcg"):
    """TF-Ranking's AlphaDCGMetric, of labels [B, N, S]."""

    no_effect = (*PeerMetric.no_effect, "seed")
    notes = {**PeerMetric.notes, "seed": "ties count with their expected value, which needs no random order"}

    @peer_signature
    def __init__(
        self,
        name: str | None = "alpha_dcg_metric",
        topn: int | None = None,
        alpha: float = 0.5,
        rank_discount_fn: DiscountSpec | None = None,
        seed: int | None = None,
        dtype: str | None = None,
        ragged: bool = False,
        *,
        empty_queries: str = "zero",
    ) -> None: ...


class ARPMetric(_MetricOfAll, key="arp"):
    """TF-Ranking's ARPMetric."""


class OPAMetric(PeerMetric, key="ordered_pair_accuracy"):
    """TF-Ranking's OPAMetric, in which a pair with equal scores is wrong."""

    @peer_signature
    def __init__(
        self, name: str | None = None, dtype: str | None = None, ragged: bool = False, *, ties: Ties = "worst"
    ) -> None: ...


class RankingMetricKey:
    """The keys of TF-Ranking's Keras metrics; as there, `get` has none of `precision_ia` and `alpha_dcg`."""

    MRR = "mrr"
    ARP = "arp"
    NDCG = "ndcg"
    DCG = "dcg"
    PRECISION = "precision"
    MAP = "map"
    PRECISION_IA = "precision_ia"
    ORDERED_PAIR_ACCURACY = "ordered_pair_accuracy"
    ALPHA_DCG = "alpha_dcg"
    HITS = "hits"


METRICS: dict[str, type[PeerMetric]] = {
    metric.key: metric
    for metric in (
        MRRMetric,
        ARPMetric,
        NDCGMetric,
        DCGMetric,
        PrecisionMetric,
        MeanAveragePrecisionMetric,
        OPAMetric,
        HitsMetric,
    )
}


def get(
    key: str, name: str | None = None, dtype: str | None = None, topn: int | None = None, **kwargs: Any
) -> PeerMetric:
    """The Keras metric of TF-Ranking's key.

    >>> get("ndcg", topn=10)
    NDCGMetric(topn=10)

    Raises:
        ValueError: for a key or parameter that TF-Ranking does not have.
    """
    if key not in METRICS:
        raise UserError(unknown_name("TF-Ranking metric", key, sorted(METRICS)))
    if topn:  # 0 is ignored in TF-Ranking
        kwargs["topn"] = topn
    return METRICS[key](name=name, dtype=dtype, **kwargs)


def default_keras_metrics(**kwargs: Any) -> list[PeerMetric]:
    """The metrics that TF-Ranking reports by default, named `metric/ndcg_1` and so on.

    Args:
        **kwargs: further parameters of every metric.
    """
    first = [get(RankingMetricKey.NDCG, f"metric/ndcg_{n}", topn=n, **kwargs) for n in (1, 3, 5, 10)]
    keys = ("arp", "ordered_pair_accuracy", "mrr", "precision", "map", "dcg", "ndcg")
    return [*first, *(get(key, f"metric/{key}", **kwargs) for key in keys)]
