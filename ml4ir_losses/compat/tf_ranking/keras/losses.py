"""TF-Ranking's Keras losses and lambda weights by class name, and every loss by key: `tfr.keras.losses`."""

from __future__ import annotations

from typing import Any

from ml4ir_losses.compat.peer import PeerLoss
from ml4ir_losses.compat.tf_ranking.keras.lambda_weights import (
    DCGLambdaWeight,
    LabelDiffLambdaWeight,
    ListMLELambdaWeight,
    NDCGLambdaWeight,
    NDCGLambdaWeightV2,
    PrecisionLambdaWeight,
    YetiDCGLambdaWeight,
)
from ml4ir_losses.compat.tf_ranking.keras.listwise import (
    ApproxMRRLoss,
    ApproxNDCGLoss,
    CalibratedSoftmaxLoss,
    CoupledRankDistilLoss,
    GumbelApproxNDCGLoss,
    ListMLELoss,
    MixtureEMLoss,
    SoftmaxLoss,
    UniqueSoftmaxLoss,
)
from ml4ir_losses.compat.tf_ranking.keras.pairwise import (
    PairwiseHingeLoss,
    PairwiseLogisticLoss,
    PairwiseMSELoss,
    PairwiseSoftZeroOneLoss,
    YetiLogisticLoss,
)
from ml4ir_losses.compat.tf_ranking.keras.pointwise import (
    ClickEMLoss,
    MeanSquaredLoss,
    OrdinalLoss,
    SigmoidCrossEntropyLoss,
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
