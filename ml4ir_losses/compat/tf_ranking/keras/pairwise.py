"""TF-Ranking's Keras losses of document pairs."""

from __future__ import annotations

from typing import Any

from ml4ir_losses.compat.peer import peer_signature
from ml4ir_losses.compat.tf_ranking.base import SampledLoss, TFRankingLoss
from ml4ir_losses.losses.lambda_weights import LambdaWeightSpec


class _PairwiseLoss(TFRankingLoss):
    @peer_signature
    def __init__(
        self,
        reduction: Any = "auto",
        name: str | None = None,
        lambda_weight: LambdaWeightSpec = None,
        temperature: float = 1.0,
        ragged: bool = False,
        *,
        normalization: str = "sum",
    ) -> None: ...


class PairwiseHingeLoss(_PairwiseLoss, key="pairwise_hinge"):
    """TF-Ranking's PairwiseHingeLoss."""


class PairwiseLogisticLoss(_PairwiseLoss, key="pairwise_logistic"):
    """TF-Ranking's PairwiseLogisticLoss."""


class PairwiseSoftZeroOneLoss(_PairwiseLoss, key="pairwise_soft_zero_one"):
    """TF-Ranking's PairwiseSoftZeroOneLoss."""


class PairwiseMSELoss(_PairwiseLoss, key="pairwise_mse"):
    """TF-Ranking's PairwiseMSELoss."""


class YetiLogisticLoss(SampledLoss, key="yeti_logistic"):
    """TF-Ranking's YetiLogisticLoss."""

    when_none = {"lambda_weight": "yeti_dcg"}

    @peer_signature
    def __init__(
        self,
        reduction: Any = "auto",
        name: str | None = None,
        lambda_weight: LambdaWeightSpec = None,
        temperature: float = 1.0,
        sample_size: int = 8,
        gumbel_temperature: float = 1.0,
        seed: int | None = None,
        ragged: bool = False,
        *,
        normalization: str = "sum",
    ) -> None: ...
