"""TF-Ranking's Keras losses of single documents."""

from __future__ import annotations

from typing import Any

from ml4ir_losses.compat.peer import peer_signature
from ml4ir_losses.compat.tf_ranking.base import TFRankingLoss


class _PointwiseLoss(TFRankingLoss):
    @peer_signature
    def __init__(
        self, reduction: Any = "auto", name: str | None = None, ragged: bool = False, *, normalization: str = "sum"
    ) -> None: ...


class SigmoidCrossEntropyLoss(_PointwiseLoss, key="sigmoid_cross_entropy"):
    """TF-Ranking's SigmoidCrossEntropyLoss."""


class MeanSquaredLoss(_PointwiseLoss, key="mean_squared_error"):
    """TF-Ranking's MeanSquaredLoss."""


class OrdinalLoss(TFRankingLoss, key="ordinal"):
    """TF-Ranking's OrdinalLoss."""

    @peer_signature
    def __init__(
        self,
        reduction: Any = "auto",
        name: str | None = None,
        ragged: bool = False,
        ordinal_size: int = 1,
        use_fraction_label: bool = False,
        *,
        normalization: str = "sum",
    ) -> None: ...


class ClickEMLoss(TFRankingLoss, key="click_em"):
    """TF-Ranking's ClickEMLoss."""

    @peer_signature
    def __init__(
        self,
        reduction: Any = "auto",
        name: str | None = None,
        exam_loss_weight: float = 1.0,
        rel_loss_weight: float = 1.0,
        ragged: bool = False,
        *,
        normalization: str = "sum",
    ) -> None: ...
