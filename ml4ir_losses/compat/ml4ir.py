"""ml4ir's losses by its class names: pointwise losses average over the documents of the batch.

They give the loss objects of ml4ir's closure API: `get_loss_fn(mask=..., **metadata)` and
`get_final_activation_op(output_name)`. The base classes are ours: a subclass sets `function`, or overrides both.
"""

from __future__ import annotations

from typing import Any

from ml4ir_losses.compat.peer import PeerObject, peer_signature
from ml4ir_losses.core.errors import UserError, unknown_name
from ml4ir_losses.losses.base import ListwiseLossBase, PairwiseLossBase, PointwiseLossBase, RelevanceLossBase
from ml4ir_losses.losses.classification import categorical_cross_entropy
from ml4ir_losses.losses.listwise import softmax
from ml4ir_losses.losses.pointwise import single_logit

__all__ = [
    "LOSSES",
    "AuxiliaryOneHotCrossEntropy",
    "AuxiliarySoftmaxCrossEntropy",
    "BasicCrossEntropy",
    "CategoricalCrossEntropy",
    "ListwiseLossBase",
    "PairwiseLossBase",
    "PointwiseLossBase",
    "RankOneListNet",
    "RelevanceLossBase",
    "SigmoidCrossEntropy",
    "SoftmaxCrossEntropy",
    "get_loss",
]


class _ListwiseLoss(PeerObject):
    """A loss under ml4ir's name, whose three parameters have no effect."""

    no_effect = ("loss_key", "scoring_type", "output_name")

    @peer_signature
    def __init__(
        self,
        loss_key: str = "",
        scoring_type: str = "",
        output_name: str = "score",
        *,
        min_label: float | None = 0.0,
    ) -> None: ...


class SigmoidCrossEntropy(PeerObject, single_logit.SigmoidCrossEntropy, key="sigmoid_cross_entropy"):
    """ml4ir's SigmoidCrossEntropy."""

    no_effect = _ListwiseLoss.no_effect

    @peer_signature
    def __init__(
        self,
        loss_key: str = "",
        scoring_type: str = "",
        output_name: str = "score",
        *,
        normalization: str = "batch",
        min_label: float | None = 0.0,
    ) -> None: ...


class RankOneListNet(_ListwiseLoss, softmax.RankOneListNet, key="rank_one_listnet"):
    """ml4ir's RankOneListNet."""


class SoftmaxCrossEntropy(_ListwiseLoss, softmax.SoftmaxCrossEntropy, key="softmax_cross_entropy"):
    """ml4ir's SoftmaxCrossEntropy."""


class BasicCrossEntropy(_ListwiseLoss, softmax.SoftmaxCrossEntropy, key="softmax_cross_entropy"):
    """ml4ir's BasicCrossEntropy."""


class AuxiliaryOneHotCrossEntropy(_ListwiseLoss, softmax.AuxOneHotCrossEntropy, key="aux_one_hot_cross_entropy"):
    """ml4ir's AuxiliaryOneHotCrossEntropy."""


class AuxiliarySoftmaxCrossEntropy(_ListwiseLoss, softmax.AuxSoftmaxCrossEntropy, key="aux_softmax_cross_entropy"):
    """ml4ir's AuxiliarySoftmaxCrossEntropy."""


class CategoricalCrossEntropy(
    PeerObject, categorical_cross_entropy.CategoricalCrossEntropy, key="categorical_cross_entropy"
):
    """ml4ir's CategoricalCrossEntropy."""

    no_effect = _ListwiseLoss.no_effect

    @peer_signature
    def __init__(self, loss_key: str = "", scoring_type: str = "", output_name: str = "score") -> None: ...


LOSSES: dict[str, type[Any]] = {
    "sigmoid_cross_entropy": SigmoidCrossEntropy,
    "rank_one_listnet": RankOneListNet,
    "softmax_cross_entropy": SoftmaxCrossEntropy,
    "basic_cross_entropy": BasicCrossEntropy,
    "aux_one_hot_cross_entropy": AuxiliaryOneHotCrossEntropy,
    "aux_softmax_cross_entropy": AuxiliarySoftmaxCrossEntropy,
    "categorical_cross_entropy": CategoricalCrossEntropy,
}


def get_loss(loss_key: str, scoring_type: str = "", output_name: str = "score", **ours: Any) -> RelevanceLossBase:
    """The loss of ml4ir's key; `scoring_type` and `output_name` have no effect.

    >>> get_loss("sigmoid_cross_entropy", "pointwise").params["normalization"]
    'batch'

    Raises:
        ValueError: for a key that ml4ir does not have.
    """
    if loss_key not in LOSSES:
        raise UserError(unknown_name("ml4ir loss", loss_key, sorted(LOSSES)))
    loss: RelevanceLossBase = LOSSES[loss_key](loss_key, scoring_type, output_name, **ours)
    return loss
