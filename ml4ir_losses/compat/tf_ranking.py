"""TF-Ranking's Keras losses, the losses that only its v1 API has, lambda weights and metrics, by their class names.

Losses are Keras losses of one value per query, where TF-Ranking's pointwise and pairwise losses have one per place:
`normalization="sum"` gives them its sums, so that `reduction="sum"` agrees, and `reduction="auto"` is its value times
the padded list length N. Lambda weights lack its factor N, with which the two agree again. `list_mle_loss` leaves
padding out; ranks of equal scores follow the order of the list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ml4ir_losses.compat.facade import REQUIRED, Facade, function_name, keras_loss
from ml4ir_losses.errors import UserError, unknown_name
from ml4ir_losses.ops.gains import identity, inverse, log2_inverse
from ml4ir_losses.ops.gains import pow2_minus_1 as pow_minus_1

_function = function_name(
    {name: name for name in ("identity", "inverse", "log2_inverse", "pow2_minus_1")} | {"pow_minus_1": "pow2_minus_1"}
)


def is_greater_equal_1(label: Any) -> Any:
    """label ≥ 1."""
    return label >= 1.0


def _reduction(value: Any) -> Any:
    value = getattr(value, "value", value)
    return {"auto": "sum_over_batch_size", None: "none"}.get(value, value)


_TRANSLATE = {
    "reduction": _reduction,
    "gain_fn": _function,
    "rank_discount_fn": _function,
}
_RAGGED = {"ragged": False}
_SUMS: dict[str, Any] = {"normalization": "sum"}


def _loss(name: str, key: str, ours: Mapping[str, Any] | None = None, *, only: Any = _RAGGED, **parameters: Any) -> Any:
    parameters = {"reduction": "auto", "name": None, **parameters, **only}
    doc = f"TF-Ranking's {name}."
    return Facade(name, key, keras_loss, parameters, ours or {}, only=only, translate=_TRANSLATE, doc=doc)


_PAIR: dict[str, Any] = {"lambda_weight": None, "temperature": 1.0}
_SAMPLES: dict[str, Any] = {"sample_size": 8, "gumbel_temperature": 1.0, "seed": None}
_NO_LAMBDA: dict[str, Any] = {
    "lambda_weight": None,
    "ragged": False,
}  # TF-Ranking takes a lambda weight there and ignores it

PairwiseHingeLoss = _loss("PairwiseHingeLoss", "pairwise_hinge", _SUMS, **_PAIR)
PairwiseLogisticLoss = _loss("PairwiseLogisticLoss", "pairwise_logistic", _SUMS, **_PAIR)
PairwiseSoftZeroOneLoss = _loss("PairwiseSoftZeroOneLoss", "pairwise_soft_zero_one", _SUMS, **_PAIR)
PairwiseMSELoss = _loss("PairwiseMSELoss", "pairwise_mse", _SUMS, **_PAIR)
YetiLogisticLoss = _loss(
    "YetiLogisticLoss", "yeti_logistic", _SUMS, lambda_weight="yeti_dcg", temperature=1.0, **_SAMPLES
)
SoftmaxLoss = _loss("SoftmaxLoss", "softmax_cross_entropy", {"normalize_labels": False}, **_PAIR)
CalibratedSoftmaxLoss = _loss(
    "CalibratedSoftmaxLoss", "calibrated_softmax", only={"lambda_weight": None}, temperature=1.0, virtual_label=0.0
)
UniqueSoftmaxLoss = _loss("UniqueSoftmaxLoss", "unique_softmax", only=_NO_LAMBDA, temperature=1.0)
SigmoidCrossEntropyLoss = _loss("SigmoidCrossEntropyLoss", "sigmoid_cross_entropy", _SUMS)
MeanSquaredLoss = _loss("MeanSquaredLoss", "mean_squared_error", _SUMS)
OrdinalLoss = _loss("OrdinalLoss", "ordinal", _SUMS, ordinal_size=1, use_fraction_label=False)
ListMLELoss = _loss("ListMLELoss", "list_mle", {"seed": None}, **_PAIR)
ApproxNDCGLoss = _loss("ApproxNDCGLoss", "approx_ndcg", only=_NO_LAMBDA, temperature=0.1)
ApproxMRRLoss = _loss("ApproxMRRLoss", "approx_mrr", only=_NO_LAMBDA, temperature=0.1)
GumbelApproxNDCGLoss = _loss("GumbelApproxNDCGLoss", "gumbel_approx_ndcg", only=_NO_LAMBDA, temperature=0.1, **_SAMPLES)
CoupledRankDistilLoss = _loss(
    "CoupledRankDistilLoss", "coupled_rank_distil", {"seed": None}, sample_size=8, topk=None, temperature=1.0
)
ClickEMLoss = _loss("ClickEMLoss", "click_em", _SUMS, exam_loss_weight=1.0, rel_loss_weight=1.0)
MixtureEMLoss = _loss("MixtureEMLoss", "mixture_em", _SUMS, only=_NO_LAMBDA, temperature=1.0, alpha=1.0)

# Only in the v1 API, of which these are the defaults.
CircleLoss = _loss("CircleLoss", "circle", only=_NO_LAMBDA, gamma=64, margin=0.25)
PolyOneSoftmaxLoss = _loss("PolyOneSoftmaxLoss", "poly1_softmax", only=_NO_LAMBDA, epsilon=1.0, temperature=1.0)
NeuralSortCrossEntropyLoss = _loss(
    "NeuralSortCrossEntropyLoss", "neural_sort_cross_entropy", only=_NO_LAMBDA, temperature=1.0
)
NeuralSortNDCGLoss = _loss("NeuralSortNDCGLoss", "neural_sort_ndcg", only=_NO_LAMBDA, temperature=1.0)
GumbelNeuralSortCrossEntropyLoss = _loss(
    "GumbelNeuralSortCrossEntropyLoss",
    "gumbel_neural_sort_cross_entropy",
    only=_NO_LAMBDA,
    temperature=1.0,
    **_SAMPLES,
)
GumbelNeuralSortNDCGLoss = _loss(
    "GumbelNeuralSortNDCGLoss", "gumbel_neural_sort_ndcg", only=_NO_LAMBDA, temperature=1.0, **_SAMPLES
)
MultiClassLoss = Facade(
    "MultiClassLoss",
    "categorical_cross_entropy",
    keras_loss,
    {"num_classes": REQUIRED, "reduction": "auto", "name": None, "from_logits": False, "label_smoothing": 0.0},
    renamed={"num_classes": None},
    translate=_TRANSLATE,
    doc="TF-Ranking's MultiClassLoss, on a document per row: y_pred [M, K], y_true [M].",
)

LOSSES: dict[str, Facade] = {
    "pairwise_hinge_loss": PairwiseHingeLoss,
    "pairwise_logistic_loss": PairwiseLogisticLoss,
    "pairwise_soft_zero_one_loss": PairwiseSoftZeroOneLoss,
    "pairwise_mse_loss": PairwiseMSELoss,
    "yeti_logistic_loss": YetiLogisticLoss,
    "softmax_loss": SoftmaxLoss,
    "calibrated_softmax_loss": CalibratedSoftmaxLoss,
    "unique_softmax_loss": UniqueSoftmaxLoss,
    "sigmoid_cross_entropy_loss": SigmoidCrossEntropyLoss,
    "mean_squared_loss": MeanSquaredLoss,
    "ordinal_loss": OrdinalLoss,
    "list_mle_loss": ListMLELoss,
    "approx_ndcg_loss": ApproxNDCGLoss,
    "approx_mrr_loss": ApproxMRRLoss,
    "gumbel_approx_ndcg_loss": GumbelApproxNDCGLoss,
    "coupled_rankdistil_loss": CoupledRankDistilLoss,
    "click_em_loss": ClickEMLoss,
    "mixture_em_loss": MixtureEMLoss,
    "circle_loss": CircleLoss,
    "poly_one_softmax_loss": PolyOneSoftmaxLoss,
    "neural_sort_cross_entropy_loss": NeuralSortCrossEntropyLoss,
    "neural_sort_ndcg_loss": NeuralSortNDCGLoss,
    "gumbel_neural_sort_cross_entropy_loss": GumbelNeuralSortCrossEntropyLoss,
    "gumbel_neural_sort_ndcg_loss": GumbelNeuralSortNDCGLoss,
    "multi_class_loss": MultiClassLoss,
}


def get(loss: str, reduction: Any = "auto", lambda_weight: Any = None, name: str | None = None, **kwargs: Any) -> Any:
    """The Keras loss of TF-Ranking's key. A lambda weight that the loss cannot use is an error, not ignored.

    >>> get("approx_ndcg_loss", temperature=0.5).loss.key
    'approx_ndcg'

    Raises:
        ValueError: for a key or parameter that TF-Ranking does not have.
    """
    if loss not in LOSSES:
        raise UserError(unknown_name("TF-Ranking loss", loss, sorted(LOSSES)))
    if lambda_weight is not None:
        kwargs["lambda_weight"] = lambda_weight
    return LOSSES[loss](reduction=reduction, name=name, **kwargs)


def make_loss_fn(
    loss_keys: str | Sequence[str],
    loss_weights: Sequence[float] | None = None,
    lambda_weight: Any = None,
    reduction: Any = "auto",
    name: str | None = None,
    params: Mapping[str, Any] | None = None,
) -> Any:
    """One Keras loss that is the weighted sum of several: `"softmax_loss:0.9,mean_squared_loss:0.1"`.

    >>> make_loss_fn("softmax_loss:0.9, mean_squared_loss:0.1").name
    'softmax_loss_mean_squared_loss'

    Args:
        loss_keys: `key:weight` pairs, one key, or a list of keys.
        loss_weights: the weights of a list of keys; None: 1 each.
        lambda_weight: for all of them.
        reduction: as in `get`.
        name: by default the keys.
        params: further parameters of every loss.

    Raises:
        ValueError: for unknown keys, or weights that do not fit.
    """
    from ml4ir_losses.losses.base import WeightedSum

    if isinstance(loss_keys, str):
        pairs = [pair.partition(":") for pair in loss_keys.replace(" ", "").split(",")]
        keys, weights = [key for key, _, _ in pairs], [_weight(weight) for _, _, weight in pairs]
    else:
        keys, weights = list(loss_keys), [float(w) for w in loss_weights or [1.0] * len(loss_keys)]
    if len(keys) != len(weights):
        raise UserError(f"`loss_weights` must hold one weight for each of {len(keys)} losses. Received: {weights!r}.")
    losses = [get(key, lambda_weight=lambda_weight, **(params or {})).loss for key in keys]
    total = WeightedSum(list(zip(losses, weights, strict=True)))
    return total.get_loss_fn(reduction=_reduction(reduction), name=name or "_".join(keys))


def _weight(text: str) -> float:
    try:
        return float(text or 1.0)
    except ValueError:
        raise UserError(
            f"The weight of a loss must be a number, as in 'softmax_loss:0.9'. Received: {text!r}."
        ) from None


def _make_lambda_weight(key: str, params: dict[str, Any]) -> Any:
    from ml4ir_losses.losses.lambda_weights import get_lambda_weight

    return get_lambda_weight({"key": key, **params})


def _lambda(name: str, key: str, only: Mapping[str, Any] | None = None, **parameters: Any) -> Facade:
    return Facade(
        name,
        key,
        _make_lambda_weight,
        parameters,
        renamed={"gain_fn": "gain", "rank_discount_fn": "discount"},
        only=only or {},
        translate=_TRANSLATE,
        doc=f"TF-Ranking's {name}, without its factor N.",
    )


_NDCG: dict[str, Any] = {"topn": None, "gain_fn": pow_minus_1, "rank_discount_fn": log2_inverse}
LabelDiffLambdaWeight = _lambda("LabelDiffLambdaWeight", "label_diff")
DCGLambdaWeight = _lambda(
    "DCGLambdaWeight",
    "dcg",
    topn=None,
    gain_fn=identity,
    rank_discount_fn=inverse,
    normalized=False,
    smooth_fraction=0.0,
)
NDCGLambdaWeight = _lambda("NDCGLambdaWeight", "ndcg", **_NDCG, smooth_fraction=0.0)
DCGLambdaWeightV2 = _lambda(
    "DCGLambdaWeightV2", "ndcg_v2", topn=None, gain_fn=identity, rank_discount_fn=inverse, normalized=False
)
NDCGLambdaWeightV2 = _lambda("NDCGLambdaWeightV2", "ndcg_v2", **_NDCG)
YetiDCGLambdaWeight = _lambda("YetiDCGLambdaWeight", "yeti_dcg", **_NDCG, normalized=False)
PrecisionLambdaWeight = _lambda(
    "PrecisionLambdaWeight", "precision", {"positive_fn": is_greater_equal_1}, topn=None, positive_fn=is_greater_equal_1
)
ListMLELambdaWeight = _lambda("ListMLELambdaWeight", "list_mle", rank_discount_fn=REQUIRED)


def create_ndcg_lambda_weight(topn: int | None = None, smooth_fraction: float = 0.0) -> Any:
    """The v1 name of `NDCGLambdaWeight`."""
    return NDCGLambdaWeight(topn=topn, smooth_fraction=smooth_fraction)


def create_reciprocal_rank_lambda_weight(topn: int | None = None, smooth_fraction: float = 0.0) -> Any:
    """`DCGLambdaWeight` with the label as gain, 1/rank as discount, normalised."""
    return DCGLambdaWeight(topn=topn, normalized=True, smooth_fraction=smooth_fraction)


def _make_metric(key: str, params: dict[str, Any]) -> Any:
    from ml4ir_losses.metrics.ranking import get_metric

    return get_metric(key, **{name: v for name, v in params.items() if v is not None})


def _metric(name: str, key: str, ours: Mapping[str, Any] | None = None, **parameters: Any) -> Facade:
    return Facade(
        name,
        key,
        _make_metric,
        {"name": None, **parameters, "dtype": None, "ragged": False},
        {"empty_queries": "zero"} if ours is None else ours,
        {"gain_fn": "gain", "rank_discount_fn": "discount"},
        _RAGGED,
        _TRANSLATE,
        doc=f"TF-Ranking's {name}.",
    )


MRRMetric = _metric("MRRMetric", "mrr", topn=None)
HitsMetric = _metric("HitsMetric", "hits", topn=None)
ARPMetric = _metric("ARPMetric", "arp", {})
PrecisionMetric = _metric("PrecisionMetric", "precision", topn=None)
RecallMetric = _metric("RecallMetric", "recall", topn=None)
MeanAveragePrecisionMetric = _metric("MeanAveragePrecisionMetric", "map", topn=None)
NDCGMetric = _metric("NDCGMetric", "ndcg", topn=None, gain_fn=pow_minus_1, rank_discount_fn=log2_inverse)
DCGMetric = _metric("DCGMetric", "dcg", topn=None, gain_fn=pow_minus_1, rank_discount_fn=log2_inverse)
OPAMetric = _metric("OPAMetric", "ordered_pair_accuracy", {})
