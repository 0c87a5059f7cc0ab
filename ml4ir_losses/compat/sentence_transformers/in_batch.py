"""sentence-transformers' losses whose negatives are the other rows of the batch."""

from __future__ import annotations

from typing import Any

from ml4ir_losses.compat.peer import peer_signature
from ml4ir_losses.compat.sentence_transformers.embedding_loss import EmbeddingLoss


class _MultipleNegativesLoss(EmbeddingLoss):
    @peer_signature
    def __init__(
        self,
        model: Any = None,
        scale: float = 20.0,
        similarity_fct: Any = "cos_sim",
        gather_across_devices: bool = False,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None: ...


class _CachedMultipleNegativesLoss(EmbeddingLoss):
    @peer_signature
    def __init__(
        self,
        model: Any = None,
        scale: float = 20.0,
        similarity_fct: Any = "cos_sim",
        mini_batch_size: int = 32,
        gather_across_devices: bool = False,
        show_progress_bar: bool = False,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None: ...


class MultipleNegativesRankingLoss(_MultipleNegativesLoss, key="multiple_negatives_ranking"):
    """sentence-transformers' MultipleNegativesRankingLoss."""


class MultipleNegativesSymmetricRankingLoss(_MultipleNegativesLoss, key="multiple_negatives_symmetric_ranking"):
    """sentence-transformers' MultipleNegativesSymmetricRankingLoss."""


class CachedMultipleNegativesRankingLoss(_CachedMultipleNegativesLoss, key="cached_multiple_negatives_ranking"):
    """sentence-transformers' CachedMultipleNegativesRankingLoss."""


class CachedMultipleNegativesSymmetricRankingLoss(
    _CachedMultipleNegativesLoss, key="cached_multiple_negatives_symmetric_ranking"
):
    """sentence-transformers' CachedMultipleNegativesSymmetricRankingLoss."""


class ContrastiveTensionLossInBatchNegatives(EmbeddingLoss, key="contrastive_tension_in_batch"):
    """sentence-transformers' ContrastiveTensionLossInBatchNegatives."""

    only = {"similarity_fct": "cosine"}

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        scale: float = 20.0,
        similarity_fct: Any = "cos_sim",
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None: ...


class MegaBatchMarginLoss(EmbeddingLoss, key="mega_batch_margin"):
    """sentence-transformers' MegaBatchMarginLoss."""

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        positive_margin: float = 0.8,
        negative_margin: float = 0.3,
        use_mini_batched_version: bool = True,
        mini_batch_size: int = 50,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None: ...


class GISTEmbedLoss(EmbeddingLoss, key="gist_embed"):
    """sentence-transformers' GISTEmbedLoss."""

    only = {"gather_across_devices": False}

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        guide: Any = None,
        temperature: float = 0.01,
        margin_strategy: str = "absolute",
        margin: float = 0.0,
        contrast_anchors: bool = True,
        contrast_positives: bool = True,
        gather_across_devices: bool = False,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None: ...


class CachedGISTEmbedLoss(EmbeddingLoss, key="cached_gist_embed"):
    """sentence-transformers' CachedGISTEmbedLoss."""

    only = {"gather_across_devices": False}

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        guide: Any = None,
        temperature: float = 0.01,
        mini_batch_size: int = 32,
        show_progress_bar: bool = False,
        margin_strategy: str = "absolute",
        margin: float = 0.0,
        contrast_anchors: bool = True,
        contrast_positives: bool = True,
        gather_across_devices: bool = False,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None: ...
