"""sentence-transformers' losses of sparse embeddings by their class names: those of dense ones, and of sparsity."""

from __future__ import annotations

from typing import Any

from ml4ir_losses.compat.peer import peer_signature
from ml4ir_losses.compat.sentence_transformers import in_batch, pairs
from ml4ir_losses.compat.sentence_transformers.embedding_loss import EmbeddingLoss
from ml4ir_losses.losses.embedding.sparse import SPARSE_RANKING

__all__ = [
    "CSRLoss",
    "CSRReconstructionLoss",
    "CachedSpladeLoss",
    "FlopsLoss",
    "SparseAnglELoss",
    "SparseCoSENTLoss",
    "SparseCosineSimilarityLoss",
    "SparseDistillKLDivLoss",
    "SparseMSELoss",
    "SparseMarginMSELoss",
    "SparseMultipleNegativesRankingLoss",
    "SparseTripletLoss",
    "SpladeLoss",
]


class SparseMultipleNegativesRankingLoss(
    in_batch.MultipleNegativesRankingLoss,
    key="multiple_negatives_ranking",
    defaults={"scale": 1.0, "similarity_fct": "dot_score"},
):
    """sentence-transformers' SparseMultipleNegativesRankingLoss."""


class SparseMarginMSELoss(pairs.MarginMSELoss, key="embedding_margin_mse"):
    """sentence-transformers' SparseMarginMSELoss."""


class SparseMSELoss(pairs.MSELoss, key="embedding_mse"):
    """sentence-transformers' SparseMSELoss."""


class SparseTripletLoss(pairs.TripletLoss, key="triplet"):
    """sentence-transformers' SparseTripletLoss."""


class SparseCosineSimilarityLoss(pairs.CosineSimilarityLoss, key="cosine_similarity"):
    """sentence-transformers' SparseCosineSimilarityLoss."""


class SparseCoSENTLoss(pairs.CoSENTLoss, key="cosent"):
    """sentence-transformers' SparseCoSENTLoss."""


class SparseAnglELoss(pairs.AnglELoss, key="angle"):
    """sentence-transformers' SparseAnglELoss."""


class SparseDistillKLDivLoss(pairs.DistillKLDivLoss, key="distill_kl_div", defaults={"temperature": 2.0}):
    """sentence-transformers' SparseDistillKLDivLoss."""


class FlopsLoss(EmbeddingLoss, key="flops"):
    """sentence-transformers' FlopsLoss."""

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        threshold: int | None = None,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None: ...


class SpladeLoss(EmbeddingLoss, key="splade"):
    """sentence-transformers' SpladeLoss."""

    when_none = {"document_regularizer": "flops", "query_regularizer": "flops"}
    notes = {"loss": "required", "document_regularizer_weight": "required"}

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        loss: Any = None,
        document_regularizer_weight: float | None = None,
        query_regularizer_weight: float | None = None,
        document_regularizer: Any = None,
        query_regularizer: Any = None,
        document_regularizer_threshold: int | None = None,
        query_regularizer_threshold: int | None = None,
        use_document_regularizer_only: bool = False,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None: ...


class CachedSpladeLoss(SpladeLoss, key="cached_splade"):
    """sentence-transformers' CachedSpladeLoss."""

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        loss: Any = None,
        document_regularizer_weight: float | None = None,
        query_regularizer_weight: float | None = None,
        document_regularizer: Any = None,
        query_regularizer: Any = None,
        document_regularizer_threshold: int | None = None,
        query_regularizer_threshold: int | None = None,
        use_document_regularizer_only: bool = False,
        mini_batch_size: int = 32,
        mini_batch_num_tokens: int | None = None,
        show_progress_bar: bool = False,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None: ...


class CSRReconstructionLoss(EmbeddingLoss, key="csr_reconstruction"):
    """sentence-transformers' CSRReconstructionLoss."""

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        beta: float = 1.0,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None: ...


class CSRLoss(EmbeddingLoss, key="csr"):
    """sentence-transformers' CSRLoss."""

    when_none = {"loss": SPARSE_RANKING}

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        loss: Any = None,
        beta: float = 0.1,
        gamma: float = 1.0,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None: ...
