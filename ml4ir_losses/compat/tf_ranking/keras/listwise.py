"""TF-Ranking's Keras losses of whole lists."""

from __future__ import annotations

from typing import Any

from ml4ir_losses.compat.peer import peer_signature
from ml4ir_losses.compat.tf_ranking.base import IgnoredLambdaWeight, NoDocumentWeights, SampledLoss, TFRankingLoss
from ml4ir_losses.losses.lambda_weights import LambdaWeightSpec


class SoftmaxLoss(TFRankingLoss, key="softmax_cross_entropy"):
    """TF-Ranking's SoftmaxLoss."""

    @peer_signature
    def __init__(
        self,
        reduction: Any = "auto",
        name: str | None = None,
        lambda_weight: LambdaWeightSpec = None,
        temperature: float = 1.0,
        ragged: bool = False,
        *,
        normalize_labels: bool = False,
    ) -> None: ...


class CalibratedSoftmaxLoss(NoDocumentWeights, key="calibrated_softmax"):
    """TF-Ranking's CalibratedSoftmaxLoss."""

    @peer_signature
    def __init__(
        self,
        reduction: Any = "auto",
        name: str | None = None,
        lambda_weight: LambdaWeightSpec = None,
        temperature: float = 1.0,
        virtual_label: float = 0.0,
    ) -> None: ...


class UniqueSoftmaxLoss(IgnoredLambdaWeight, key="unique_softmax"):
    """TF-Ranking's UniqueSoftmaxLoss."""

    @peer_signature
    def __init__(
        self,
        reduction: Any = "auto",
        name: str | None = None,
        lambda_weight: LambdaWeightSpec = None,
        temperature: float = 1.0,
        ragged: bool = False,
    ) -> None: ...


class ListMLELoss(TFRankingLoss, key="list_mle"):
    """TF-Ranking's ListMLELoss."""

    @peer_signature
    def __init__(
        self,
        reduction: Any = "auto",
        name: str | None = None,
        lambda_weight: LambdaWeightSpec = None,
        temperature: float = 1.0,
        ragged: bool = False,
        *,
        seed: int | None = None,
    ) -> None: ...


class _ApproxLoss(IgnoredLambdaWeight):
    @peer_signature
    def __init__(
        self,
        reduction: Any = "auto",
        name: str | None = None,
        lambda_weight: LambdaWeightSpec = None,
        temperature: float = 0.1,
        ragged: bool = False,
    ) -> None: ...


class ApproxNDCGLoss(_ApproxLoss, key="approx_ndcg"):
    """TF-Ranking's ApproxNDCGLoss."""


class ApproxMRRLoss(_ApproxLoss, key="approx_mrr"):
    """TF-Ranking's ApproxMRRLoss."""


class GumbelApproxNDCGLoss(SampledLoss, IgnoredLambdaWeight, key="gumbel_approx_ndcg"):
    """TF-Ranking's GumbelApproxNDCGLoss."""

    @peer_signature
    def __init__(
        self,
        reduction: Any = "auto",
        name: str | None = None,
        lambda_weight: LambdaWeightSpec = None,
        temperature: float = 0.1,
        sample_size: int = 8,
        gumbel_temperature: float = 1.0,
        seed: int | None = None,
        ragged: bool = False,
    ) -> None: ...


class CoupledRankDistilLoss(TFRankingLoss, key="coupled_rank_distil"):
    """TF-Ranking's CoupledRankDistilLoss."""

    @peer_signature
    def __init__(
        self,
        reduction: Any = "auto",
        name: str | None = None,
        ragged: bool = False,
        sample_size: int = 8,
        topk: int | None = None,
        temperature: float = 1.0,
        *,
        seed: int | None = None,
    ) -> None: ...


class MixtureEMLoss(IgnoredLambdaWeight, key="mixture_em"):
    """TF-Ranking's MixtureEMLoss."""

    @peer_signature
    def __init__(
        self,
        reduction: Any = "auto",
        name: str | None = None,
        lambda_weight: LambdaWeightSpec = None,
        temperature: float = 1.0,
        alpha: float = 1.0,
        ragged: bool = False,
        *,
        normalization: str = "sum",
    ) -> None: ...
