"""sentence-transformers' losses of embeddings by their class names, as Keras losses on embeddings.

The model's embeddings come as y_pred [B, C, D], one column per text of a row ([B, D] where one column is read); labels
as y_true. `model` is ignored, a `guide` too: the guide's embeddings come as y_true. Losses that the peer sums over the
batch have `reduction="sum"`. `TripletLoss` has the distance that it documents, not minus the distance.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ml4ir_losses.compat.facade import Facade, function_name, keras_loss


class SiameseDistanceMetric:
    """Distances of `ContrastiveLoss` and `OnlineContrastiveLoss`."""

    EUCLIDEAN = "euclidean"
    MANHATTAN = "manhattan"
    COSINE_DISTANCE = "cosine"


class TripletDistanceMetric:
    """Distances of `TripletLoss`."""

    COSINE = "cosine"
    EUCLIDEAN = "euclidean"
    MANHATTAN = "manhattan"


class BatchHardTripletLossDistanceFunction:
    """Distances of the losses that find their triplets in the batch."""

    cosine_distance = "cosine"
    eucledian_distance = "euclidean"


_DISTANCES = {
    "COSINE_DISTANCE": "cosine",
    "COSINE": "cosine",
    "EUCLIDEAN": "euclidean",
    "MANHATTAN": "manhattan",
    "cosine_distance": "cosine",
    "eucledian_distance": "euclidean",
}
_SIMILARITIES = {
    f"{prefix}{theirs}": ours
    for prefix in ("", "pairwise_")
    for theirs, ours in (
        ("cos_sim", "cosine"),
        ("dot_score", "dot"),
        ("euclidean_sim", "euclidean"),
        ("manhattan_sim", "manhattan"),
    )
}
_LOSSES = {"MSELoss": "mse", "L1Loss": "mae", "HuberLoss": "huber", "SmoothL1Loss": "huber"}
_TRANSFORMS = {"Identity": "identity", "Sigmoid": "sigmoid", "Tanh": "tanh", "ReLU": "relu"}


def _module(names: dict[str, str]) -> Any:
    """Turns a torch module of default parameters, or its name, into the name of ours; anything else stays itself."""

    def translated(value: Any) -> Any:
        name = value if isinstance(value, str) else type(value).__name__
        return names.get(name, value)

    return translated


_TRANSLATE = {
    "distance_metric": function_name(_DISTANCES),
    "similarity_fct": function_name(_SIMILARITIES),
    "loss_fct": _module(_LOSSES),
    "cos_score_transformation": _module(_TRANSFORMS),
    "loss": lambda loss: getattr(loss, "loss", loss),  # of a Keras loss the loss behind it
}
_RENAMED = {
    **dict.fromkeys(
        ("model", "guide", "decoder_name_or_path", "sentence_embedding_dimension", "use_mini_batched_version")
    ),
    "distance_metric": "distance",
    "triplet_margin": "margin",
    "similarity_fct": "similarity",
    "matryoshka_dims": "dims",
    "matryoshka_weights": "weights",
}

_ONLY: dict[str, dict[str, Any]] = {
    "pair_softmax": {"loss_fct": None},
    "splade": {"document_regularizer": None, "query_regularizer": None},
    "contrastive_tension_in_batch": {"similarity_fct": "cosine"},
    "gist_embed": {"gather_across_devices": False},
    "cached_gist_embed": {"gather_across_devices": False},
}


def _loss(
    name: str,
    key: str,
    reduction: str = "sum_over_batch_size",
    ours: Mapping[str, Any] | None = None,
    /,
    **parameters: Any,
) -> Facade:
    return Facade(
        name,
        key,
        keras_loss,
        {"model": None, **parameters},
        {**(ours or {}), "reduction": reduction, "name": None},
        _RENAMED,
        translate=_TRANSLATE,
        only=_ONLY.get(key, {}),
        doc=f"sentence-transformers' {name}.",
    )


_MINED: dict[str, Any] = {"distance_metric": "eucledian_distance", "margin": 5.0}
_IN_BATCH: dict[str, Any] = {"scale": 20.0, "similarity_fct": "cos_sim"}
_CACHED: dict[str, Any] = {"mini_batch_size": 32, "gather_across_devices": False, "show_progress_bar": False}
_GIST: dict[str, Any] = {
    "margin_strategy": "absolute",
    "margin": 0.0,
    "contrast_anchors": True,
    "contrast_positives": True,
    "gather_across_devices": False,
}

BatchAllTripletLoss = _loss("BatchAllTripletLoss", "batch_all_triplet", **_MINED)
BatchHardTripletLoss = _loss("BatchHardTripletLoss", "batch_hard_triplet", **_MINED)
BatchSemiHardTripletLoss = _loss("BatchSemiHardTripletLoss", "batch_semi_hard_triplet", **_MINED)
BatchHardSoftMarginTripletLoss = _loss(
    "BatchHardSoftMarginTripletLoss", "batch_hard_soft_margin_triplet", distance_metric="eucledian_distance"
)
TripletLoss = _loss("TripletLoss", "triplet", distance_metric="EUCLIDEAN", triplet_margin=5.0)
ContrastiveLoss = _loss(
    "ContrastiveLoss", "contrastive", distance_metric="COSINE_DISTANCE", margin=0.5, size_average=True
)
OnlineContrastiveLoss = _loss(
    "OnlineContrastiveLoss", "online_contrastive", "sum", distance_metric="COSINE_DISTANCE", margin=0.5
)
ContrastiveTensionLoss = _loss("ContrastiveTensionLoss", "contrastive_tension", "sum")
ContrastiveTensionLossInBatchNegatives = _loss(
    "ContrastiveTensionLossInBatchNegatives", "contrastive_tension_in_batch", **_IN_BATCH
)
CosineSimilarityLoss = _loss(
    "CosineSimilarityLoss", "cosine_similarity", loss_fct="MSELoss", cos_score_transformation="Identity"
)
CoSENTLoss = _loss("CoSENTLoss", "cosent", scale=20.0, similarity_fct="pairwise_cos_sim")
AnglELoss = _loss("AnglELoss", "angle", scale=20.0)
MarginMSELoss = _loss("MarginMSELoss", "embedding_margin_mse", similarity_fct="pairwise_dot_score")
MSELoss = _loss("MSELoss", "embedding_mse")
DistillKLDivLoss = _loss("DistillKLDivLoss", "distill_kl_div", similarity_fct="pairwise_dot_score", temperature=1.0)
MegaBatchMarginLoss = _loss(
    "MegaBatchMarginLoss",
    "mega_batch_margin",
    positive_margin=0.8,
    negative_margin=0.3,
    use_mini_batched_version=True,
    mini_batch_size=50,
)
MultipleNegativesRankingLoss = _loss(
    "MultipleNegativesRankingLoss", "multiple_negatives_ranking", **_IN_BATCH, gather_across_devices=False
)
MultipleNegativesSymmetricRankingLoss = _loss(
    "MultipleNegativesSymmetricRankingLoss",
    "multiple_negatives_symmetric_ranking",
    **_IN_BATCH,
    gather_across_devices=False,
)
CachedMultipleNegativesRankingLoss = _loss(
    "CachedMultipleNegativesRankingLoss", "cached_multiple_negatives_ranking", **_IN_BATCH, **_CACHED
)
CachedMultipleNegativesSymmetricRankingLoss = _loss(
    "CachedMultipleNegativesSymmetricRankingLoss",
    "cached_multiple_negatives_symmetric_ranking",
    **_IN_BATCH,
    **_CACHED,
)
GISTEmbedLoss = _loss("GISTEmbedLoss", "gist_embed", guide=None, temperature=0.01, **_GIST)
CachedGISTEmbedLoss = _loss(
    "CachedGISTEmbedLoss",
    "cached_gist_embed",
    guide=None,
    temperature=0.01,
    mini_batch_size=32,
    show_progress_bar=False,
    **_GIST,
)
SoftmaxLoss = _loss(
    "SoftmaxLoss",
    "pair_softmax",
    sentence_embedding_dimension=None,
    num_labels=None,  # to be given
    concatenation_sent_rep=True,
    concatenation_sent_difference=True,
    concatenation_sent_multiplication=False,
    loss_fct=None,
)

SparseMultipleNegativesRankingLoss = _loss(
    "SparseMultipleNegativesRankingLoss",
    "multiple_negatives_ranking",
    scale=1.0,
    similarity_fct="dot_score",
    gather_across_devices=False,
)
SparseMarginMSELoss = _loss("SparseMarginMSELoss", "embedding_margin_mse", similarity_fct="pairwise_dot_score")
SparseMSELoss = _loss("SparseMSELoss", "embedding_mse")
SparseDistillKLDivLoss = _loss(
    "SparseDistillKLDivLoss", "distill_kl_div", similarity_fct="pairwise_dot_score", temperature=2.0
)
SparseTripletLoss = _loss("SparseTripletLoss", "triplet", distance_metric="EUCLIDEAN", triplet_margin=5.0)
SparseCosineSimilarityLoss = _loss(
    "SparseCosineSimilarityLoss", "cosine_similarity", loss_fct="MSELoss", cos_score_transformation="Identity"
)
SparseCoSENTLoss = _loss("SparseCoSENTLoss", "cosent", scale=20.0, similarity_fct="pairwise_cos_sim")
SparseAnglELoss = _loss("SparseAnglELoss", "angle", scale=20.0)

# Without a default in the peer, but behind `model`, which has one here: None is refused.
_DIMS: dict[str, Any] = {"loss": None, "matryoshka_dims": None, "matryoshka_weights": None}
_LAYERS: dict[str, Any] = {
    "n_layers_per_step": 1,
    "last_layer_weight": 1.0,
    "prior_layers_weight": 1.0,
    "kl_div_weight": 1.0,
    "kl_temperature": 0.3,
}
_DECAY = {"layer_decay": "linear"}  # 5.1 divides by the number of the layer
MatryoshkaLoss = _loss("MatryoshkaLoss", "matryoshka", **_DIMS, n_dims_per_step=-1)
AdaptiveLayerLoss = _loss("AdaptiveLayerLoss", "adaptive_layer", "sum_over_batch_size", _DECAY, loss=None, **_LAYERS)
Matryoshka2dLoss = _loss(
    "Matryoshka2dLoss",
    "matryoshka_2d",
    "sum_over_batch_size",
    _DECAY,
    **_DIMS,
    n_layers_per_step=1,
    n_dims_per_step=1,
    last_layer_weight=1.0,
    prior_layers_weight=1.0,
    kl_div_weight=1.0,
    kl_temperature=0.3,
)
DenoisingAutoEncoderLoss = _loss(
    "DenoisingAutoEncoderLoss", "denoising_auto_encoder", decoder_name_or_path=None, tie_encoder_decoder=True
)
FlopsLoss = _loss("FlopsLoss", "flops", threshold=None)
SpladeLoss = _loss(
    "SpladeLoss",
    "splade",
    loss=None,
    document_regularizer_weight=None,
    query_regularizer_weight=None,
    document_regularizer=None,
    query_regularizer=None,
    document_regularizer_threshold=None,
    query_regularizer_threshold=None,
    use_document_regularizer_only=False,
)
