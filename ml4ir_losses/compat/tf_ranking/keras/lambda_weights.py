"""TF-Ranking's lambda weights, without its factor N."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from ml4ir_losses.compat.peer import PeerObject, peer_signature
from ml4ir_losses.compat.tf_ranking.base import TRANSLATE
from ml4ir_losses.core.errors import UserError, check_count
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.losses import lambda_weights
from ml4ir_losses.ops.gains import DiscountSpec, GainSpec, PositiveSpec

_MOST_DOCUMENTS = 100  # float32 ends at 2^128, and a step of the loss is multiplied by up to 2^(list_size - 1)


class PeerLambdaWeight(PeerObject):
    """A lambda weight under TF-Ranking's name."""

    package = "ml4ir_losses.tf_ranking"
    renamed = {"gain_fn": "gain", "rank_discount_fn": "discount", "positive_fn": "positive"}
    translate = TRANSLATE


_MRR = {"gain_fn": "identity", "rank_discount_fn": "inverse"}
_NDCG = {"gain_fn": "pow_minus_1", "rank_discount_fn": "log2_inverse"}


class LabelDiffLambdaWeight(PeerLambdaWeight, lambda_weights.LabelDiffLambdaWeight, key="label_diff"):
    """TF-Ranking's LabelDiffLambdaWeight."""

    @peer_signature
    def __init__(self) -> None: ...


class DCGLambdaWeight(PeerLambdaWeight, lambda_weights.DCGLambdaWeight, key="dcg"):
    """TF-Ranking's DCGLambdaWeight, without its factor N."""

    when_none = _MRR

    @peer_signature
    def __init__(
        self,
        topn: int | None = None,
        gain_fn: GainSpec | None = None,
        rank_discount_fn: DiscountSpec | None = None,
        normalized: bool = False,
        smooth_fraction: float = 0.0,
    ) -> None: ...


class NDCGLambdaWeight(PeerLambdaWeight, lambda_weights.NDCGLambdaWeight, key="ndcg"):
    """TF-Ranking's NDCGLambdaWeight, without its factor N."""

    when_none = _NDCG

    @peer_signature
    def __init__(
        self,
        topn: int | None = None,
        gain_fn: GainSpec | None = None,
        rank_discount_fn: DiscountSpec | None = None,
        smooth_fraction: float = 0.0,
    ) -> None: ...


class DCGLambdaWeightV2(PeerLambdaWeight, lambda_weights.NDCGLambdaWeightV2, key="ndcg_v2"):
    """TF-Ranking's DCGLambdaWeightV2, without its factor N."""

    when_none = _MRR

    @peer_signature
    def __init__(
        self,
        topn: int | None = None,
        gain_fn: GainSpec | None = None,
        rank_discount_fn: DiscountSpec | None = None,
        normalized: bool = False,
    ) -> None: ...


class NDCGLambdaWeightV2(PeerLambdaWeight, lambda_weights.NDCGLambdaWeightV2, key="ndcg_v2"):
    """TF-Ranking's NDCGLambdaWeightV2, without its factor N."""

    when_none = _NDCG

    @peer_signature
    def __init__(
        self,
        topn: int | None = None,
        gain_fn: GainSpec | None = None,
        rank_discount_fn: DiscountSpec | None = None,
    ) -> None: ...


class YetiDCGLambdaWeight(PeerLambdaWeight, lambda_weights.YetiDCGLambdaWeight, key="yeti_dcg"):
    """TF-Ranking's YetiDCGLambdaWeight, without its factor N."""

    when_none = _NDCG

    @peer_signature
    def __init__(
        self,
        topn: int | None = None,
        gain_fn: GainSpec | None = None,
        rank_discount_fn: DiscountSpec | None = None,
        normalized: bool = False,
    ) -> None: ...


class PrecisionLambdaWeight(PeerLambdaWeight, lambda_weights.PrecisionLambdaWeight, key="precision"):
    """TF-Ranking's PrecisionLambdaWeight."""

    when_none = {"positive_fn": "is_greater_equal_1"}

    @peer_signature
    def __init__(self, topn: int | None = None, positive_fn: PositiveSpec | None = None) -> None: ...


class ListMLELambdaWeight(PeerLambdaWeight, lambda_weights.ListMLELambdaWeight, key="list_mle"):
    """TF-Ranking's ListMLELambdaWeight."""

    @peer_signature
    def __init__(self, rank_discount_fn: DiscountSpec) -> None: ...


def create_ndcg_lambda_weight(topn: int | None = None, smooth_fraction: float = 0.0) -> NDCGLambdaWeight:
    """The v1 name of `NDCGLambdaWeight`."""
    return NDCGLambdaWeight(topn=topn, smooth_fraction=smooth_fraction)


def create_reciprocal_rank_lambda_weight(topn: int | None = None, smooth_fraction: float = 0.0) -> DCGLambdaWeight:
    """`DCGLambdaWeight` with the label as gain, 1/rank as discount, normalised."""
    return DCGLambdaWeight(topn=topn, normalized=True, smooth_fraction=smooth_fraction)


@keras.saving.register_keras_serializable("ml4ir_losses")
class PListMLEDiscount:
    """2^(n - r) - 1 of the 1-based rank r, and 0 below rank n.

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

    def __repr__(self) -> str:
        return f"PListMLEDiscount(list_size={self.list_size})"

    def get_config(self) -> dict[str, Any]:
        """As Keras writes an object: this is how the config of a lambda weight holds a discount."""
        name = type(self).__name__
        config = {"list_size": self.list_size}
        return {"class_name": name, "registered_name": f"ml4ir_losses>{name}", "module": None, "config": config}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> PListMLEDiscount:
        """The discount of this `list_size`."""
        return cls(**config)


def create_p_list_mle_lambda_weight(list_size: int) -> ListMLELambdaWeight:
    """The weights 2^(list_size - r) - 1 of ListMLE's ranks r.

    `list_size` is the padded length N there; documents behind it weigh 0. The loss `p_list_mle` counts the documents
    of each list itself.

    >>> create_p_list_mle_lambda_weight(5).discount.list_size
    5

    Raises:
        ValueError: for a `list_size` above 100, whose weights float32 cannot hold (TF-Ranking: infinite).
    """
    return ListMLELambdaWeight(PListMLEDiscount(list_size))
