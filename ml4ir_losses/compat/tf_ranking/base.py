"""What TF-Ranking's classes share: our names of its values, and bases of its losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ml4ir_losses.compat.peer import PeerLoss, function_name
from ml4ir_losses.core.errors import UserError


def _reduction(value: Any) -> Any:
    value = getattr(value, "value", value)
    value = {"auto": "sum_over_batch_size", "weighted_sum": "sum", None: "none"}.get(value, value)
    if str(value).startswith("weighted_"):  # the v1 API's means over places or pairs
        raise UserError(
            f"`reduction` must be 'auto' (the mean over queries), 'sum' or 'none'. Received: reduction={value!r}."
        )
    return value


_function = function_name(
    {name: name for name in ("identity", "inverse", "log2_inverse", "pow2_minus_1")} | {"pow_minus_1": "pow2_minus_1"}
)
TRANSLATE: Mapping[str, Callable[[Any], Any]] = {
    "reduction": _reduction,
    "gain_fn": _function,
    "rank_discount_fn": _function,
    "positive_fn": function_name({"is_greater_equal_1": "is_greater_equal_1"}),
}


class TFRankingLoss(PeerLoss):
    """A Keras loss under TF-Ranking's name."""

    package = "ml4ir_losses.tf_ranking"
    only = {"ragged": False}
    translate = TRANSLATE

    def _build(self, params: dict[str, Any]) -> None:
        super()._build({"min_label": 0.0, **params})  # labels below 0 are padding, also of regression losses


class IgnoredLambdaWeight(TFRankingLoss):
    """A loss that ignores its lambda weight in TF-Ranking; here one is refused."""

    only = {"ragged": False, "lambda_weight": None}
    notes = {"lambda_weight": "TF-Ranking takes a lambda weight and ignores it"}


class NoDocumentWeights(TFRankingLoss):
    """A loss whose documents TF-Ranking weights by a `DCGLambdaWeight`; here one is refused."""

    only = {"ragged": False, "lambda_weight": None}
    notes = {"lambda_weight": "TF-Ranking weighs documents by a `DCGLambdaWeight` here, which this loss cannot"}
