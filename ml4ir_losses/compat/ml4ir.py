"""ml4ir's losses by its class names: pointwise losses average over the documents of the batch.

They give the loss objects of ml4ir's closure API: `get_loss_fn(mask=..., **metadata)` and
`get_final_activation_op(output_name)`. The base classes are ours: a subclass sets `function`, or overrides both.
"""

from __future__ import annotations

from typing import Any

from ml4ir_losses.compat.facade import Facade
from ml4ir_losses.core.errors import UserError, unknown_name
from ml4ir_losses.losses.base import ListwiseLossBase, PairwiseLossBase, PointwiseLossBase, RelevanceLossBase

__all__ = [
    "LOSSES",
    "AuxOneHotCrossEntropy",
    "AuxSoftmaxCrossEntropy",
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


def _make(key: str, params: dict[str, Any]) -> Any:
    from ml4ir_losses.losses.factory import get_loss

    return get_loss(key, **params)


def _loss(name: str, key: str, **ours: Any) -> Facade:
    legacy = {"loss_key": "", "scoring_type": "", "output_name": "score"}
    renamed: dict[str, str | None] = dict.fromkeys(legacy)
    return Facade(name, key, _make, legacy, ours, renamed, doc=f"ml4ir's {name}.")


SigmoidCrossEntropy = _loss("SigmoidCrossEntropy", "sigmoid_cross_entropy", normalization="batch", min_label=0.0)
RankOneListNet = _loss("RankOneListNet", "rank_one_listnet", min_label=0.0)
SoftmaxCrossEntropy = _loss("SoftmaxCrossEntropy", "softmax_cross_entropy", min_label=0.0)
BasicCrossEntropy = _loss("BasicCrossEntropy", "softmax_cross_entropy", min_label=0.0)
AuxOneHotCrossEntropy = _loss("AuxOneHotCrossEntropy", "aux_one_hot_cross_entropy", min_label=0.0)
AuxSoftmaxCrossEntropy = _loss("AuxSoftmaxCrossEntropy", "aux_softmax_cross_entropy", min_label=0.0)
CategoricalCrossEntropy = _loss("CategoricalCrossEntropy", "categorical_cross_entropy")

LOSSES = {
    "sigmoid_cross_entropy": SigmoidCrossEntropy,
    "rank_one_listnet": RankOneListNet,
    "softmax_cross_entropy": SoftmaxCrossEntropy,
    "basic_cross_entropy": BasicCrossEntropy,
    "aux_one_hot_cross_entropy": AuxOneHotCrossEntropy,
    "aux_softmax_cross_entropy": AuxSoftmaxCrossEntropy,
    "categorical_cross_entropy": CategoricalCrossEntropy,
}


def get_loss(loss_key: str, scoring_type: str = "", output_name: str = "score", **ours: Any) -> Any:
    """The loss of ml4ir's key; `scoring_type` and `output_name` have no effect.

    >>> get_loss("sigmoid_cross_entropy", "pointwise").params["normalization"]
    'batch'

    Raises:
        ValueError: for a key that ml4ir does not have.
    """
    if loss_key not in LOSSES:
        raise UserError(unknown_name("ml4ir loss", loss_key, sorted(LOSSES)))
    return LOSSES[loss_key](loss_key, scoring_type, output_name, **ours)
