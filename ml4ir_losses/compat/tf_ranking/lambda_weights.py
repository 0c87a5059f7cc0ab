"""TF-Ranking's lambda weights, without its factor N."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from ml4ir_losses.compat.facade import REQUIRED, Facade
from ml4ir_losses.compat.tf_ranking.utils import TRANSLATE
from ml4ir_losses.core.errors import UserError, check_count
from ml4ir_losses.core.lazy import Tensor

_MOST_DOCUMENTS = 100  # float32 ends at 2^128, and a step of the loss is multiplied by up to 2^(list_size - 1)


def _make(key: str, params: dict[str, Any]) -> Any:
    from ml4ir_losses.losses.lambda_weights import get_lambda_weight

    return get_lambda_weight({"key": key, **params})


def _weight(
    name: str, key: str, none: Mapping[str, Any] | None = None, only: Mapping[str, Any] | None = None, **parameters: Any
) -> Facade:
    return Facade(
        name,
        key,
        _make,
        parameters,
        renamed={"gain_fn": "gain", "rank_discount_fn": "discount"},
        only=only or {},
        none=none or {},
        translate=TRANSLATE,
        doc=f"TF-Ranking's {name}, without its factor N.",
    )


_FUNCTIONS: dict[str, Any] = {"topn": None, "gain_fn": None, "rank_discount_fn": None}
_MRR = {"gain_fn": "identity", "rank_discount_fn": "inverse"}
_NDCG = {"gain_fn": "pow_minus_1", "rank_discount_fn": "log2_inverse"}
_POSITIVE = {"positive_fn": "is_greater_equal_1"}

LabelDiffLambdaWeight = _weight("LabelDiffLambdaWeight", "label_diff")
DCGLambdaWeight = _weight("DCGLambdaWeight", "dcg", _MRR, **_FUNCTIONS, normalized=False, smooth_fraction=0.0)
NDCGLambdaWeight = _weight("NDCGLambdaWeight", "ndcg", _NDCG, **_FUNCTIONS, smooth_fraction=0.0)
DCGLambdaWeightV2 = _weight("DCGLambdaWeightV2", "ndcg_v2", _MRR, **_FUNCTIONS, normalized=False)
NDCGLambdaWeightV2 = _weight("NDCGLambdaWeightV2", "ndcg_v2", _NDCG, **_FUNCTIONS)
YetiDCGLambdaWeight = _weight("YetiDCGLambdaWeight", "yeti_dcg", _NDCG, **_FUNCTIONS, normalized=False)
PrecisionLambdaWeight = _weight("PrecisionLambdaWeight", "precision", _POSITIVE, _POSITIVE, topn=None, positive_fn=None)
ListMLELambdaWeight = _weight("ListMLELambdaWeight", "list_mle", rank_discount_fn=REQUIRED)


def create_ndcg_lambda_weight(topn: int | None = None, smooth_fraction: float = 0.0) -> Any:
    """The v1 name of `NDCGLambdaWeight`."""
    return NDCGLambdaWeight(topn=topn, smooth_fraction=smooth_fraction)


def create_reciprocal_rank_lambda_weight(topn: int | None = None, smooth_fraction: float = 0.0) -> Any:
    """`DCGLambdaWeight` with the label as gain, 1/rank as discount, normalised."""
    return DCGLambdaWeight(topn=topn, normalized=True, smooth_fraction=smooth_fraction)


@keras.saving.register_keras_serializable("ml4ir_losses")
class PListMLEDiscount:
    """2^(n - r) - 1 of the 1-based rank r, and 0 below rank n.

    To load a model that has it, import this module.

    Args:
        list_size: n, from 1 to 100.

    Raises:
        ValueError: for another `list_size`.
    """

    def __init__(self, list_size: int) -> None:
        check_count(list_size=list_size)
        if list_size is None or list_size > _MOST_DOCUMENTS:
            raise UserError(
                f"`list_size` must be a whole number from 1 to {_MOST_DOCUMENTS}: float32 cannot hold 2^list_size "
                "times a loss. The loss `p_list_mle` has such weights over their sum, for lists of any length. "
                f"Received: list_size={list_size!r}."
            )
        self.list_size = list_size

    def __call__(self, ranks: Tensor) -> Tensor:
        left = self.list_size - ranks
        return ops.exp2(ops.where(left > 0, left, 0.0)) - 1.0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PListMLEDiscount) and other.list_size == self.list_size

    def __hash__(self) -> int:
        return hash((PListMLEDiscount, self.list_size))

    def get_config(self) -> dict[str, Any]:
        """As Keras writes an object: this is how the config of a lambda weight holds a discount."""
        name = type(self).__name__
        config = {"list_size": self.list_size}
        return {"class_name": name, "registered_name": f"ml4ir_losses>{name}", "module": None, "config": config}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> PListMLEDiscount:
        """The discount of this `list_size`."""
        return cls(**config)


def create_p_list_mle_lambda_weight(list_size: int) -> Any:
    """The weights 2^(list_size - r) - 1 of ListMLE's ranks r.

    `list_size` is the padded length N there; documents behind it weigh 0. The loss `p_list_mle` counts the documents
    of each list itself.

    >>> create_p_list_mle_lambda_weight(5).discount.list_size
    5

    Raises:
        ValueError: for a `list_size` above 100, whose weights float32 cannot hold (TF-Ranking: infinite).
    """
    return ListMLELambdaWeight(PListMLEDiscount(list_size))
