"""sentence-transformers' cross-encoder losses by their class names, as Keras losses on scores.

The models' scores come as y_pred [B, N], labels as y_true [B, N], where a label below `min_label` is padding (the
peer has lists of their own length instead): for negative labels set `min_label`. `model` is ignored. Pairwise losses
average over all pairs of the batch and are in bits; ListMLE and PListMLE take the input order as the ideal one.
Pointwise losses also take the peer's form: y_true [B] with y_pred [B] or [B, 1].

Where the peer hands `reduction` on to torch it means what it means there: `sum` and `none` have no divisor. Where
ours cannot give torch's number, it is an error.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ml4ir_losses.compat.peer import PeerLoss, function_name, peer_signature
from ml4ir_losses.compat.sentence_transformers.activations import ACTIVATIONS
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.losses.lambda_weights import LambdaWeightSpec, PListMLELambdaWeight
from ml4ir_losses.losses.weighting_schemes import (
    BaseWeightingScheme,
    LambdaRankScheme,
    NDCGLoss1Scheme,
    NDCGLoss2PPScheme,
    NDCGLoss2Scheme,
    NoWeightingScheme,
    WeightingSchemeSpec,
)

__all__ = [
    "ADRMSELoss",
    "BaseWeightingScheme",
    "BinaryCrossEntropyLoss",
    "CachedMultipleNegativesRankingLoss",
    "CrossEntropyLoss",
    "LambdaLoss",
    "LambdaRankScheme",
    "ListMLELoss",
    "ListNetLoss",
    "MSELoss",
    "MarginMSELoss",
    "MultipleNegativesRankingLoss",
    "NDCGLoss1Scheme",
    "NDCGLoss2PPScheme",
    "NDCGLoss2Scheme",
    "NoWeightingScheme",
    "PListMLELambdaWeight",
    "PListMLELoss",
    "RankNetLoss",
]

_REDUCTIONS = {"mean": "sum_over_batch_size"}
_ACTIVATIONS = {"Identity": None, **ACTIVATIONS}
_SCHEMES = {
    "NoWeightingScheme": "none",
    "NDCGLoss1Scheme": "ndcg_loss1",
    "NDCGLoss2Scheme": "ndcg_loss2",
    "LambdaRankScheme": "lambda_rank",
    "NDCGLoss2PPScheme": "ndcg_loss2pp",
}


def _activation(value: Any) -> Any:
    """The name of a function, of a torch module, or the name itself; the identity is None."""
    if value is None or isinstance(value, str):
        return _ACTIVATIONS.get(value, value) if value else None
    name = getattr(value, "__name__", type(value).__name__)
    return _ACTIVATIONS.get(name, name)


def _as_list(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


_TRANSLATE = {
    "activation_fn": _activation,
    "weighting_scheme": lambda value: "none" if value is None else function_name(_SCHEMES)(value),
    "weight": _as_list,
    "pos_weight": _as_list,
    "scale": lambda value: value or 1.0,  # the peer does not scale where the scale is 0 or None
    "reduction": function_name(_REDUCTIONS),
    "k": lambda value: value or None,
}


class CrossEncoderLoss(PeerLoss):
    """A Keras loss under the name of a cross-encoder loss of sentence-transformers."""

    package = "ml4ir_losses.sentence_transformers.cross_encoder"
    no_effect = ("model", "eps", "mini_batch_size", "show_progress_bar")
    translate = _TRANSLATE


class TorchLoss(CrossEncoderLoss):
    """A loss with torch's `reduction`: the `normalization` None is the one that gives torch's numbers."""

    reductions: ClassVar[tuple[str, ...]] = ("mean", "sum", "none")

    def _build(self, params: dict[str, Any]) -> None:
        reduction = {"sum_over_batch_size": "mean", None: "none"}.get(params["reduction"], params["reduction"])
        if reduction not in self.reductions:
            raise UserError(
                f"`reduction` of {self.peer_name} must be {' or '.join(map(repr, self.reductions))}: torch's number "
                f"for another is not available here. Received: reduction={reduction!r}."
            )
        if "normalization" in params and params["normalization"] is None:
            params["normalization"] = "batch" if reduction == "mean" else "sum"
        super()._build(params)


class BinaryCrossEntropyLoss(TorchLoss, key="binary_cross_entropy"):
    """sentence-transformers' cross-encoder BinaryCrossEntropyLoss."""

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        activation_fn: Any = None,
        pos_weight: Any = None,
        weight: Any = None,
        reduction: str | None = "mean",
        *,
        name: str | None = None,
        normalization: str | None = None,
        min_label: float | None = None,
    ) -> None: ...


class CrossEntropyLoss(TorchLoss, key="categorical_cross_entropy"):
    """sentence-transformers' cross-encoder CrossEntropyLoss."""

    renamed = {"weight": "class_weight"}

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        activation_fn: Any = None,
        weight: Any = None,
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
        reduction: str | None = "mean",
        *,
        name: str | None = None,
        normalization: str | None = None,
    ) -> None: ...


class MSELoss(TorchLoss, key="mean_squared_error"):
    """sentence-transformers' cross-encoder MSELoss."""

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        activation_fn: Any = None,
        reduction: str | None = "mean",
        *,
        name: str | None = None,
        normalization: str | None = None,
        min_label: float | None = None,
    ) -> None: ...


class MarginMSELoss(TorchLoss, key="margin_mse"):
    """sentence-transformers' cross-encoder MarginMSELoss."""

    reductions = ("mean", "sum")  # torch's "none" is [B, n], a Keras loss is [B]

    @peer_signature
    def __init__(
        self,
        model: Any = None,
        activation_fn: Any = None,
        reduction: str | None = "mean",
        *,
        name: str | None = None,
        normalization: str | None = None,
    ) -> None: ...


class LambdaLoss(CrossEncoderLoss, key="lambda_loss"):
    """sentence-transformers' cross-encoder LambdaLoss."""

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
