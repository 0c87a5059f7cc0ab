"""sentence-transformers' cross-encoder losses of lists."""

from __future__ import annotations

from typing import Any

from ml4ir_losses.compat.peer import peer_signature
from ml4ir_losses.compat.sentence_transformers.cross_encoder.base import CrossEncoderLoss
from ml4ir_losses.losses.lambda_weights import LambdaWeightSpec
from ml4ir_losses.losses.weighting_schemes import WeightingSchemeSpec


class LambdaLoss(CrossEncoderLoss, key="lambda_loss"):
    """sentence-transformers' cross-encoder LambdaLoss."""

    no_effect = ("model", "mini_batch_size")

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        weighting_scheme: WeightingSchemeSpec = "ndcg_loss2pp",
        k: int | None = None,
        sigma: float = 1.0,
        eps: float = 1e-10,
        reduction_log: str = "binary",
        activation_fn: Any = None,
        mini_batch_size: int | None = None,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        normalization: str = "batch",
        top_k_pairs: str = "either",
        min_label: float | None = 0.0,
    ) -> None: ...


class RankNetLoss(CrossEncoderLoss, key="ranknet"):
    """sentence-transformers' cross-encoder RankNetLoss."""

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        k: int | None = None,
        sigma: float = 1.0,
        eps: float = 1e-10,
        reduction_log: str = "binary",
        activation_fn: Any = None,
        mini_batch_size: int | None = None,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        normalization: str = "batch",
        top_k_pairs: str = "either",
        min_label: float | None = 0.0,
    ) -> None: ...


class ListNetLoss(CrossEncoderLoss, key="listnet"):
    """sentence-transformers' cross-encoder ListNetLoss."""

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        activation_fn: Any = None,
        mini_batch_size: int | None = None,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        min_label: float | None = 0.0,
    ) -> None: ...


class ListMLELoss(CrossEncoderLoss, key="list_mle"):
    """sentence-transformers' cross-encoder ListMLELoss."""

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        activation_fn: Any = None,
        mini_batch_size: int | None = None,
        respect_input_order: bool = True,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        min_label: float | None = 0.0,
    ) -> None: ...


class PListMLELoss(CrossEncoderLoss, key="p_list_mle"):
    """sentence-transformers' cross-encoder PListMLELoss."""

    notes = {"lambda_weight": "a `rank_discount_fn` gets 1-based ranks, or ranks and list sizes; None is plain ListMLE"}

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        lambda_weight: LambdaWeightSpec = "p_list_mle",
        activation_fn: Any = None,
        mini_batch_size: int | None = None,
        respect_input_order: bool = True,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        min_label: float | None = 0.0,
    ) -> None: ...


class ADRMSELoss(CrossEncoderLoss, key="adr_mse"):
    """sentence-transformers' cross-encoder ADRMSELoss."""

    only = {"activation_fn": None}

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        alpha: float = 1.0,
        activation_fn: Any = None,
        mini_batch_size: int | None = None,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        min_label: float | None = 0.0,
    ) -> None: ...
