"""TF-Ranking's losses that only its v1 API has: `losses_impl`. Their classes take `name` first, and no reduction."""

from __future__ import annotations

from typing import Any

from ml4ir_losses.compat.peer import peer_signature
from ml4ir_losses.compat.tf_ranking.base import IgnoredLambdaWeight, NoDocumentWeights, SampledLoss, TFRankingLoss
from ml4ir_losses.losses.lambda_weights import LambdaWeightSpec


class _NeuralSortLoss(IgnoredLambdaWeight):
    @peer_signature
    def __init__(
        self,
        name: str | None = None,
        lambda_weight: LambdaWeightSpec = None,
        temperature: float = 1.0,
        ragged: bool = False,
        *,
        reduction: Any = "auto",
    ) -> None: ...


class _GumbelNeuralSortLoss(SampledLoss, IgnoredLambdaWeight):
    @peer_signature
    def __init__(
        self,
        name: str | None = None,
        lambda_weight: LambdaWeightSpec = None,
        temperature: float = 1.0,
        sample_size: int = 8,
        gumbel_temperature: float = 1.0,
        seed: int | None = None,
        ragged: bool = False,
        *,
        reduction: Any = "auto",
    ) -> None: ...


class CircleLoss(IgnoredLambdaWeight, key="circle"):
    """TF-Ranking's CircleLoss."""

    @peer_signature
    def __init__(
        self,
        name: str | None = None,
        lambda_weight: LambdaWeightSpec = None,
        gamma: float = 64,
        margin: float = 0.25,
        ragged: bool = False,
        *,
        reduction: Any = "auto",
    ) -> None: ...


class PolyOneSoftmaxLoss(NoDocumentWeights, key="poly1_softmax"):
    """TF-Ranking's PolyOneSoftmaxLoss."""

    @peer_signature
    def __init__(
        self,
        name: str | None = None,
        lambda_weight: LambdaWeightSpec = None,
        epsilon: float = 1.0,
        temperature: float = 1.0,
        ragged: bool = False,
        *,
        reduction: Any = "auto",
    ) -> None: ...


class NeuralSortCrossEntropyLoss(_NeuralSortLoss, key="neural_sort_cross_entropy"):
    """TF-Ranking's NeuralSortCrossEntropyLoss."""


class NeuralSortNDCGLoss(_NeuralSortLoss, key="neural_sort_ndcg"):
    """TF-Ranking's NeuralSortNDCGLoss."""


class GumbelNeuralSortCrossEntropyLoss(_GumbelNeuralSortLoss, key="gumbel_neural_sort_cross_entropy"):
    """TF-Ranking's GumbelNeuralSortCrossEntropyLoss."""


class GumbelNeuralSortNDCGLoss(_GumbelNeuralSortLoss, key="gumbel_neural_sort_ndcg"):
    """TF-Ranking's GumbelNeuralSortNDCGLoss."""


class MultiClassLoss(TFRankingLoss, key="categorical_cross_entropy"):
    """TF-Ranking's MultiClassLoss, on a document per row: y_pred [M, K], y_true [M]."""

    no_effect = ("num_classes", "ragged")
    only = {"temperature": 1.0}
    notes = {**TFRankingLoss.notes, "num_classes": "K is read off y_pred"}

    @peer_signature
    def __init__(
        self,
        name: str | None = None,
        num_classes: int | None = None,
        temperature: float = 1.0,
        ragged: bool = False,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        *,
        reduction: Any = "auto",
    ) -> None: ...
