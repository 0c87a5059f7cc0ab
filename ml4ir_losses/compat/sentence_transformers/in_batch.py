"""sentence-transformers' losses with in-batch negatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ml4ir_losses.compat.peer import peer_signature
from ml4ir_losses.compat.sentence_transformers.embedding_loss import EmbeddingLoss


class MultipleNegativesRankingLoss(EmbeddingLoss, key="multiple_negatives_ranking"):
    """sentence-transformers' MultipleNegativesRankingLoss."""

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        scale: float = 20.0,
        similarity_fct: Any = "cos_sim",
        gather_across_devices: bool = False,
        directions: Sequence[str] = ("query_to_doc",),
        partition_mode: str = "joint",
        hardness_mode: str | None = None,
        hardness_strength: float = 0.0,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None: ...


class MultipleNegativesSymmetricRankingLoss(EmbeddingLoss, key="multiple_negatives_symmetric_ranking"):
    """sentence-transformers' MultipleNegativesSymmetricRankingLoss."""

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


class CachedMultipleNegativesRankingLoss(EmbeddingLoss, key="cached_multiple_negatives_ranking"):
    """sentence-transformers' CachedMultipleNegativesRankingLoss."""

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        scale: float = 20.0,
        similarity_fct: Any = "cos_sim",
        mini_batch_size: int = 32,
        mini_batch_num_tokens: int | None = None,
        gather_across_devices: bool = False,
        directions: Sequence[str] = ("query_to_doc",),
        partition_mode: str = "joint",
        show_progress_bar: bool = False,
        hardness_mode: str | None = None,
        hardness_strength: float = 0.0,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None: ...


class CachedMultipleNegativesSymmetricRankingLoss(EmbeddingLoss, key="cached_multiple_negatives_symmetric_ranking"):
    """sentence-transformers' CachedMultipleNegativesSymmetricRankingLoss."""

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        scale: float = 20.0,
        similarity_fct: Any = "cos_sim",
        mini_batch_size: int = 32,
        mini_batch_num_tokens: int | None = None,
        gather_across_devices: bool = False,
        show_progress_bar: bool = False,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None: ...


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

    no_effect = (*EmbeddingLoss.no_effect, "show_progress_bar")

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        positive_margin: float = 0.8,
        negative_margin: float = 0.3,
        use_mini_batched_version: bool = True,
        mini_batch_size: int = 50,
        mini_batch_num_tokens: int | None = None,
        show_progress_bar: bool = False,
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
        mini_batch_num_tokens: int | None = None,
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
