"""sentence-transformers' cross-encoder losses with negatives from the batch."""

from __future__ import annotations

from typing import Any

from ml4ir_losses.compat.peer import peer_signature
from ml4ir_losses.compat.sentence_transformers.cross_encoder.base import CrossEncoderLoss


class MultipleNegativesRankingLoss(CrossEncoderLoss, key="cross_encoder_multiple_negatives_ranking"):
    """sentence-transformers' cross-encoder MultipleNegativesRankingLoss."""

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        num_negatives: int | None = 4,
        scale: float | None = 10,
        activation_fn: Any = "sigmoid",
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None: ...


class CachedMultipleNegativesRankingLoss(CrossEncoderLoss, key="cached_cross_encoder_multiple_negatives_ranking"):
    """sentence-transformers' cross-encoder CachedMultipleNegativesRankingLoss."""

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        num_negatives: int | None = 4,
        scale: float | None = 10.0,
        activation_fn: Any = "sigmoid",
        mini_batch_size: int = 32,
        show_progress_bar: bool = False,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None: ...
