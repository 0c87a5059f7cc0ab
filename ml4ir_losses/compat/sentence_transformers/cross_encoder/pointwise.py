"""sentence-transformers' cross-encoder losses of single scores and of margins, with torch's `reduction`."""

from __future__ import annotations

from typing import Any, ClassVar

from ml4ir_losses.compat.peer import peer_signature
from ml4ir_losses.compat.sentence_transformers.cross_encoder.base import CrossEncoderLoss
from ml4ir_losses.core.errors import UserError


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
