"""The base class of sentence-transformers' embedding losses, and its names of distances."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar

from ml4ir_losses.compat.peer import PeerLoss, function_name
from ml4ir_losses.compat.sentence_transformers.activations import ACTIVATIONS


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
    """Distances of the losses that form their triplets in the batch."""

    cosine_distance = "cosine"
    euclidean_distance = "euclidean"
    eucledian_distance = "euclidean"  # the spelling of 5.x


_DISTANCES = {
    "COSINE_DISTANCE": "cosine",
    "COSINE": "cosine",
    "EUCLIDEAN": "euclidean",
    "MANHATTAN": "manhattan",
    "cosine_distance": "cosine",
    "euclidean_distance": "euclidean",
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
_TRANSFORMS = {"Identity": "identity", **ACTIVATIONS}


def _module(names: dict[str, str]) -> Any:
    """Turns a torch module with default parameters, or its name, into our name; returns anything else as it is."""

    def translated(value: Any) -> Any:
        name = value if isinstance(value, str) else type(value).__name__
        return names.get(name, value)

    return translated


_TRANSLATE = {
    "distance_metric": function_name(_DISTANCES),
    "similarity_fct": function_name(_SIMILARITIES),
    "loss_fct": _module(_LOSSES),
    "cos_score_transformation": _module(_TRANSFORMS),
    "loss": lambda loss: getattr(loss, "loss", loss),  # the loss inside a Keras loss
}


class EmbeddingLoss(PeerLoss):
    """A Keras loss under the name of an embedding loss of sentence-transformers."""

    package = "ml4ir_losses.sentence_transformers"
    renamed = {
        "distance_metric": "distance",
        "triplet_margin": "margin",
        "similarity_fct": "similarity",
        "matryoshka_dims": "dims",
        "matryoshka_weights": "weights",
    }
    no_effect: ClassVar[Collection[str]] = (
        "model",
        "guide",
        "decoder_name_or_path",
        "embedding_dimension",
        "sentence_embedding_dimension",
        "use_mini_batched_version",
        "mini_batch_num_tokens",
    )
    translate = _TRANSLATE
