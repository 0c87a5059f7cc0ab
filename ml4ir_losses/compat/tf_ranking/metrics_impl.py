"""TF-Ranking's metrics that only its v1 API has: `metrics_impl`. Here they are Keras metrics, with `name` first."""

from __future__ import annotations

from ml4ir_losses.compat.peer import peer_signature
from ml4ir_losses.compat.tf_ranking.keras.metrics import PeerMetric


class BPrefMetric(PeerMetric, key="bpref"):
    """TF-Ranking's BPrefMetric."""

    @peer_signature
    def __init__(
        self,
        name: str | None = None,
        topn: int | None = None,
        use_trec_version: bool = True,
        ragged: bool = False,
        *,
        dtype: str | None = None,
        empty_queries: str = "zero",
    ) -> None: ...


class PWAMetric(PeerMetric, key="pwa"):
    """TF-Ranking's PWAMetric."""

    @peer_signature
    def __init__(
        self,
        name: str | None = None,
        topn: int | None = 5,
        ragged: bool = False,
        *,
        dtype: str | None = None,
        empty_queries: str = "zero",
    ) -> None: ...
