"""sentence-transformers' losses of embedding pairs and triplets, its distillation losses and its regulariser."""

from __future__ import annotations

from typing import Any

from ml4ir_losses.compat.peer import function_name, peer_signature
from ml4ir_losses.compat.sentence_transformers.embedding_loss import (
    BatchHardTripletLossDistanceFunction,
    EmbeddingLoss,
    SiameseDistanceMetric,
    TripletDistanceMetric,
)


class _BatchTripletLoss(EmbeddingLoss):
    @peer_signature
    def __init__(
        self,
        model: Any = None,
        distance_metric: Any = BatchHardTripletLossDistanceFunction.euclidean_distance,
        margin: float = 5.0,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None: ...


class BatchAllTripletLoss(_BatchTripletLoss, key="batch_all_triplet"):
    """sentence-transformers' BatchAllTripletLoss."""


class BatchHardTripletLoss(_BatchTripletLoss, key="batch_hard_triplet"):
    """sentence-transformers' BatchHardTripletLoss."""


class BatchSemiHardTripletLoss(_BatchTripletLoss, key="batch_semi_hard_triplet"):
    """sentence-transformers' BatchSemiHardTripletLoss."""


class BatchHardSoftMarginTripletLoss(EmbeddingLoss, key="batch_hard_soft_margin_triplet"):
    """sentence-transformers' BatchHardSoftMarginTripletLoss."""

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        distance_metric: Any = BatchHardTripletLossDistanceFunction.euclidean_distance,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None: ...


class TripletLoss(EmbeddingLoss, key="triplet"):
    """sentence-transformers' TripletLoss."""

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        distance_metric: Any = TripletDistanceMetric.EUCLIDEAN,
        triplet_margin: float = 5.0,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None: ...


class ContrastiveLoss(EmbeddingLoss, key="contrastive"):
    """sentence-transformers' ContrastiveLoss."""

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        distance_metric: Any = SiameseDistanceMetric.COSINE_DISTANCE,
        margin: float = 0.5,
        size_average: bool = True,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None: ...


class OnlineContrastiveLoss(EmbeddingLoss, key="online_contrastive"):
    """sentence-transformers' OnlineContrastiveLoss."""

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        distance_metric: Any = SiameseDistanceMetric.COSINE_DISTANCE,
        margin: float = 0.5,
        *,
        reduction: str | None = "sum",
        name: str | None = None,
    ) -> None: ...


class ContrastiveTensionLoss(EmbeddingLoss, key="contrastive_tension"):
    """sentence-transformers' ContrastiveTensionLoss."""

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        *,
        reduction: str | None = "sum",
        name: str | None = None,
    ) -> None: ...


class CosineSimilarityLoss(EmbeddingLoss, key="cosine_similarity"):
    """sentence-transformers' CosineSimilarityLoss."""

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        loss_fct: Any = "MSELoss",
        cos_score_transformation: Any = "Identity",
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None: ...


class CoSENTLoss(EmbeddingLoss, key="cosent"):
    """sentence-transformers' CoSENTLoss."""

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        scale: float = 20.0,
        similarity_fct: Any = "pairwise_cos_sim",
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None: ...


class AnglELoss(EmbeddingLoss, key="angle"):
    """sentence-transformers' AnglELoss."""

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        scale: float = 20.0,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None: ...


class SoftmaxLoss(EmbeddingLoss, key="pair_softmax"):
    """sentence-transformers' SoftmaxLoss."""

    only = {"loss_fct": None}
    notes = {"num_labels": "required", "sentence_embedding_dimension": "the name of `embedding_dimension` in 5.x"}

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        embedding_dimension: int | None = None,
        num_labels: int | None = None,
        concatenation_sent_rep: bool = True,
        concatenation_sent_difference: bool = True,
        concatenation_sent_multiplication: bool = False,
        loss_fct: Any = None,
        *,
        sentence_embedding_dimension: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None: ...


class MarginMSELoss(EmbeddingLoss, key="embedding_margin_mse"):
    """sentence-transformers' MarginMSELoss."""

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        similarity_fct: Any = "pairwise_dot_score",
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None: ...


class EmbedDistillLoss(EmbeddingLoss, key="embed_distill"):
    """sentence-transformers' EmbedDistillLoss."""

    translate = {**EmbeddingLoss.translate, "distance_metric": function_name({"l2": "euclidean"})}
    notes = {"projection_dim": "the projection is a layer of the model, y_pred its output"}

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        distance_metric: str = "cosine",
        projection_dim: int | None = None,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None: ...


class MSELoss(EmbeddingLoss, key="embedding_mse"):
    """sentence-transformers' MSELoss."""

    notes = EmbedDistillLoss.notes

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        projection_dim: int | None = None,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None: ...


class DistillKLDivLoss(EmbeddingLoss, key="distill_kl_div"):
    """sentence-transformers' DistillKLDivLoss."""

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        similarity_fct: Any = "pairwise_dot_score",
        temperature: float = 1.0,
        student_temperature: float | None = None,
        teacher_temperature: float | None = None,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None: ...


class GlobalOrthogonalRegularizationLoss(EmbeddingLoss, key="global_orthogonal_regularization"):
    """sentence-transformers' GlobalOrthogonalRegularizationLoss, the sum of its two terms."""

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        similarity_fct: Any = "cos_sim",
        mean_weight: float | None = 1.0,
        second_moment_weight: float | None = 1.0,
        aggregation: str = "mean",
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None: ...
