"""What the classes under TF-Ranking's names share: translations of its values, and base classes of its losses."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar

from ml4ir_losses.compat.peer import PeerLoss, function_name
from ml4ir_losses.compat.tf_ranking.inputs import check_ragged, dense_inputs
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.losses.lambda_weights import get_lambda_weight
from ml4ir_losses.ops.backend import without_autograph


def _reduction(value: Any) -> Any:
    value = getattr(value, "value", value)
    value = {"auto": "sum_over_batch_size", "weighted_sum": "sum", None: "none"}.get(value, value)
    if str(value).startswith("weighted_"):  # v1's means, which `make_loss_fn` has
        raise UserError(
            f"`reduction` must be 'auto' (the mean over queries), 'sum' or 'none'. Received: reduction={value!r}."
        )
    return value


_function = function_name(
    {name: name for name in ("identity", "inverse", "log2_inverse", "pow2_minus_1")} | {"pow_minus_1": "pow2_minus_1"}
)


def _lambda_weight(value: Any) -> Any:
    return get_lambda_weight(value) if isinstance(value, Mapping) else value


TRANSLATE: Mapping[str, Callable[[Any], Any]] = {
    "reduction": _reduction,
    "gain_fn": _function,
    "rank_discount_fn": _function,
    "positive_fn": function_name({"is_greater_equal_1": 1.0}),
    "lambda_weight": _lambda_weight,
    "ragged": check_ragged,
}
RAGGED_NOTE = "ragged tensors are taken whatever it is, on TensorFlow; True is an error on other backends"


class TFRankingLoss(PeerLoss):
    """A Keras loss under TF-Ranking's name; it takes ragged tensors too."""

    package = "ml4ir_losses.tf_ranking"
    no_effect: ClassVar[Collection[str]] = ("ragged",)
    translate = TRANSLATE
    notes = {"ragged": RAGGED_NOTE}

    def _build(self, params: dict[str, Any]) -> None:
        super()._build({"min_label": 0.0, **params})  # labels below 0 are padding, also of regression losses

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        return super().__call__(*without_autograph(dense_inputs)(y_true, y_pred, sample_weight))


class SampledLoss(TFRankingLoss):
    """A loss that TF-Ranking reduces over queries and samples, so that its sum has a term for each sample."""

    def call(self, target: dict[str, Tensor], prediction: dict[str, Tensor]) -> Tensor:
        values = super().call(target, prediction)
        return values * self.loss.params["sample_size"] if self.reduction == "sum" else values


class IgnoredLambdaWeight(TFRankingLoss):
    """A loss that ignores its lambda weight in TF-Ranking; here one is refused."""

    only = {"lambda_weight": None}
    notes = {**TFRankingLoss.notes, "lambda_weight": "TF-Ranking takes a lambda weight and ignores it"}


class NoDocumentWeights(TFRankingLoss):
    """A loss whose documents TF-Ranking weights by a `DCGLambdaWeight`; here one is refused."""

    only = {"lambda_weight": None}
    notes = {
        **TFRankingLoss.notes,
        "lambda_weight": "TF-Ranking weights documents by a `DCGLambdaWeight` here, which this loss cannot",
    }
