"""sentence-transformers' losses that wrap an embedding loss, and its denoising auto-encoder.

Parameters that the peer requires follow `model`, which is optional here: their None is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ml4ir_losses.compat.peer import peer_signature
from ml4ir_losses.compat.sentence_transformers.embedding_loss import EmbeddingLoss


class MatryoshkaLoss(EmbeddingLoss, key="matryoshka"):
    """sentence-transformers' MatryoshkaLoss."""

    notes = {"loss": "required", "matryoshka_dims": "required"}

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        loss: Any = None,
        matryoshka_dims: Sequence[int] | None = None,
        matryoshka_weights: Sequence[float] | None = None,
        n_dims_per_step: int = -1,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None: ...


class AdaptiveLayerLoss(EmbeddingLoss, key="adaptive_layer"):
    """sentence-transformers' AdaptiveLayerLoss."""

    notes = {"loss": "required", "layer_weighting": "5.x has `linear`"}

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        loss: Any = None,
        n_layers_per_step: int = 1,
        last_layer_weight: float = 1.0,
        prior_layers_weight: float = 1.0,
        kl_div_weight: float = 1.0,
        kl_temperature: float = 0.3,
        layer_weighting: str | Callable[[int], float] = "uniform",
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None: ...


class Matryoshka2dLoss(EmbeddingLoss, key="matryoshka_2d"):
    """sentence-transformers' Matryoshka2dLoss."""

    notes = {**MatryoshkaLoss.notes, **AdaptiveLayerLoss.notes}

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        loss: Any = None,
        matryoshka_dims: Sequence[int] | None = None,
        matryoshka_weights: Sequence[float] | None = None,
        n_layers_per_step: int = 1,
        n_dims_per_step: int = 1,
        last_layer_weight: float = 1.0,
        prior_layers_weight: float = 1.0,
        kl_div_weight: float = 1.0,
        kl_temperature: float = 0.3,
        layer_weighting: str | Callable[[int], float] = "uniform",
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None: ...


class DenoisingAutoEncoderLoss(EmbeddingLoss, key="denoising_auto_encoder"):
    """sentence-transformers' DenoisingAutoEncoderLoss."""

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        decoder_name_or_path: str | None = None,
        tie_encoder_decoder: bool = True,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None: ...
