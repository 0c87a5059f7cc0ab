"""TF-Ranking's Keras losses and lambda weights by class name, and every loss by key: `tfr.keras.losses`."""

from __future__ import annotations

from typing import Any

from ml4ir_losses.compat.peer import PeerLoss, peer_signature
from ml4ir_losses.compat.tf_ranking.base import IgnoredLambdaWeight, NoDocumentWeights, TFRankingLoss
from ml4ir_losses.compat.tf_ranking.keras.lambda_weights import (
    DCGLambdaWeight,
    LabelDiffLambdaWeight,
    ListMLELambdaWeight,
    NDCGLambdaWeight,
    NDCGLambdaWeightV2,
    PrecisionLambdaWeight,
    YetiDCGLambdaWeight,
)
from ml4ir_losses.compat.tf_ranking.keys import RankingLossKey
from ml4ir_losses.compat.tf_ranking.losses_impl import (
    CircleLoss,
    GumbelNeuralSortCrossEntropyLoss,
    GumbelNeuralSortNDCGLoss,
    MultiClassLoss,
    NeuralSortCrossEntropyLoss,
    NeuralSortNDCGLoss,
    PolyOneSoftmaxLoss,
)
from ml4ir_losses.core.errors import UserError, unknown_name
from ml4ir_losses.losses.lambda_weights import LambdaWeightSpec

__all__ = [
    "LOSSES",
    "ApproxMRRLoss",
    "ApproxNDCGLoss",
    "CalibratedSoftmaxLoss",
    "ClickEMLoss",
    "CoupledRankDistilLoss",
    "DCGLambdaWeight",
    "GumbelApproxNDCGLoss",
    "LabelDiffLambdaWeight",
    "ListMLELambdaWeight",
    "ListMLELoss",
    "MeanSquaredLoss",
    "MixtureEMLoss",
    "NDCGLambdaWeight",
    "NDCGLambdaWeightV2",
    "OrdinalLoss",
    "PairwiseHingeLoss",
    "PairwiseLogisticLoss",
    "PairwiseMSELoss",
    "PairwiseSoftZeroOneLoss",
    "PrecisionLambdaWeight",
    "RankingLossKey",
    "SigmoidCrossEntropyLoss",
    "SoftmaxLoss",
    "UniqueSoftmaxLoss",
    "YetiDCGLambdaWeight",
    "YetiLogisticLoss",
    "get",
]


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


class YetiLogisticLoss(TFRankingLoss, key="yeti_logistic"):
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


class GumbelApproxNDCGLoss(IgnoredLambdaWeight, key="gumbel_approx_ndcg"):
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


LOSSES: dict[str, type[PeerLoss]] = {
    "pairwise_hinge_loss": PairwiseHingeLoss,
    "pairwise_logistic_loss": PairwiseLogisticLoss,
    "pairwise_soft_zero_one_loss": PairwiseSoftZeroOneLoss,
    "pairwise_mse_loss": PairwiseMSELoss,
    "yeti_logistic_loss": YetiLogisticLoss,
    "softmax_loss": SoftmaxLoss,
    "calibrated_softmax_loss": CalibratedSoftmaxLoss,
    "unique_softmax_loss": UniqueSoftmaxLoss,
    "sigmoid_cross_entropy_loss": SigmoidCrossEntropyLoss,
    "mean_squared_loss": MeanSquaredLoss,
    "ordinal_loss": OrdinalLoss,
    "list_mle_loss": ListMLELoss,
    "approx_ndcg_loss": ApproxNDCGLoss,
    "approx_mrr_loss": ApproxMRRLoss,
    "gumbel_approx_ndcg_loss": GumbelApproxNDCGLoss,
    "coupled_rankdistil_loss": CoupledRankDistilLoss,
    "circle_loss": CircleLoss,
    "poly_one_softmax_loss": PolyOneSoftmaxLoss,
    "neural_sort_cross_entropy_loss": NeuralSortCrossEntropyLoss,
    "neural_sort_ndcg_loss": NeuralSortNDCGLoss,
    "gumbel_neural_sort_cross_entropy_loss": GumbelNeuralSortCrossEntropyLoss,
    "gumbel_neural_sort_ndcg_loss": GumbelNeuralSortNDCGLoss,
    # TF-Ranking has no keys for these.
    "click_em_loss": ClickEMLoss,
    "mixture_em_loss": MixtureEMLoss,
    "multi_class_loss": MultiClassLoss,
}


def loss_class(loss: Any) -> type[PeerLoss]:
    """The class of TF-Ranking's key; `UserError` for an unknown one."""
    if loss not in LOSSES:
        raise UserError(unknown_name("TF-Ranking loss", loss, sorted(LOSSES)))
    return LOSSES[loss]


def get(
    loss: str, reduction: Any = "auto", lambda_weight: LambdaWeightSpec = None, name: str | None = None, **kwargs: Any
) -> PeerLoss:
    """The Keras loss of TF-Ranking's key. A lambda weight that the loss cannot use is an error, not ignored.

    >>> get("approx_ndcg_loss", temperature=0.5)
    ApproxNDCGLoss(temperature=0.5)

    Raises:
        ValueError: for a key or parameter that TF-Ranking does not have.
    """
    if lambda_weight is not None:
        kwargs["lambda_weight"] = lambda_weight
    return loss_class(loss)(reduction=reduction, name=name, **kwargs)
