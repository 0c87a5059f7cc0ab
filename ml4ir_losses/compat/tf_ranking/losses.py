"""TF-Ranking's losses by class name and by key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ml4ir_losses.compat.facade import Facade, keras_loss
from ml4ir_losses.compat.tf_ranking.utils import TRANSLATE
from ml4ir_losses.core.errors import UserError, unknown_name

_KERAS: dict[str, Any] = {"reduction": "auto", "name": None}
_SUMS: dict[str, Any] = {"normalization": "sum"}
_IGNORED = {"lambda_weight": "TF-Ranking takes a lambda weight and ignores it"}
_NOT_HERE = {"lambda_weight": "TF-Ranking weighs documents by a `DCGLambdaWeight` here, which this loss cannot"}


def _loss(
    name: str,
    key: str,
    parameters: Mapping[str, Any],
    ours: Mapping[str, Any] | None = None,
    *,
    no_lambda: Mapping[str, str] | None = None,
    **more: Any,
) -> Facade:
    only = {"ragged": False, **({"lambda_weight": None} if no_lambda else {})}
    return Facade(
        name,
        key,
        keras_loss,
        parameters,
        ours or {},
        only={n: value for n, value in only.items() if n in parameters},
        translate=TRANSLATE,
        notes=no_lambda or {},
        doc=f"TF-Ranking's {name}.",
        **more,
    )


def _listed(temperature: float = 1.0, **parameters: Any) -> dict[str, Any]:
    """The parameters of pairwise and listwise losses, in TF-Ranking's order."""
    return {**_KERAS, "lambda_weight": None, "temperature": temperature, **parameters, "ragged": False}


_SAMPLES: dict[str, Any] = {"sample_size": 8, "gumbel_temperature": 1.0, "seed": None}

PairwiseHingeLoss = _loss("PairwiseHingeLoss", "pairwise_hinge", _listed(), _SUMS)
PairwiseLogisticLoss = _loss("PairwiseLogisticLoss", "pairwise_logistic", _listed(), _SUMS)
PairwiseSoftZeroOneLoss = _loss("PairwiseSoftZeroOneLoss", "pairwise_soft_zero_one", _listed(), _SUMS)
PairwiseMSELoss = _loss("PairwiseMSELoss", "pairwise_mse", _listed(), _SUMS)
YetiLogisticLoss = _loss(
    "YetiLogisticLoss", "yeti_logistic", _listed(**_SAMPLES), _SUMS, none={"lambda_weight": "yeti_dcg"}
)
SoftmaxLoss = _loss("SoftmaxLoss", "softmax_cross_entropy", _listed(), {"normalize_labels": False})
CalibratedSoftmaxLoss = _loss(
    "CalibratedSoftmaxLoss",
    "calibrated_softmax",
    {**_KERAS, "lambda_weight": None, "temperature": 1.0, "virtual_label": 0.0},
    no_lambda=_NOT_HERE,
)
UniqueSoftmaxLoss = _loss("UniqueSoftmaxLoss", "unique_softmax", _listed(), no_lambda=_IGNORED)
SigmoidCrossEntropyLoss = _loss("SigmoidCrossEntropyLoss", "sigmoid_cross_entropy", {**_KERAS, "ragged": False}, _SUMS)
MeanSquaredLoss = _loss("MeanSquaredLoss", "mean_squared_error", {**_KERAS, "ragged": False}, _SUMS)
OrdinalLoss = _loss(
    "OrdinalLoss", "ordinal", {**_KERAS, "ragged": False, "ordinal_size": 1, "use_fraction_label": False}, _SUMS
)
ListMLELoss = _loss("ListMLELoss", "list_mle", _listed(), {"seed": None})
ApproxNDCGLoss = _loss("ApproxNDCGLoss", "approx_ndcg", _listed(0.1), no_lambda=_IGNORED)
ApproxMRRLoss = _loss("ApproxMRRLoss", "approx_mrr", _listed(0.1), no_lambda=_IGNORED)
GumbelApproxNDCGLoss = _loss("GumbelApproxNDCGLoss", "gumbel_approx_ndcg", _listed(0.1, **_SAMPLES), no_lambda=_IGNORED)
CoupledRankDistilLoss = _loss(
    "CoupledRankDistilLoss",
    "coupled_rank_distil",
    {**_KERAS, "ragged": False, "sample_size": 8, "topk": None, "temperature": 1.0},
    {"seed": None},
)
ClickEMLoss = _loss(
    "ClickEMLoss", "click_em", {**_KERAS, "exam_loss_weight": 1.0, "rel_loss_weight": 1.0, "ragged": False}, _SUMS
)
MixtureEMLoss = _loss("MixtureEMLoss", "mixture_em", _listed(alpha=1.0), _SUMS, no_lambda=_IGNORED)


def _of_v1(
    name: str, key: str, parameters: Mapping[str, Any], no_lambda: Mapping[str, str] = _IGNORED, **more: Any
) -> Facade:
    """A loss of the v1 API, whose class takes `name` first and no reduction."""
    parameters = {"name": None, "lambda_weight": None, **parameters, "ragged": False}
    return _loss(name, key, parameters, {"reduction": "auto"}, no_lambda=no_lambda, **more)


CircleLoss = _of_v1("CircleLoss", "circle", {"gamma": 64, "margin": 0.25})
PolyOneSoftmaxLoss = _of_v1("PolyOneSoftmaxLoss", "poly1_softmax", {"epsilon": 1.0, "temperature": 1.0}, _NOT_HERE)
NeuralSortCrossEntropyLoss = _of_v1("NeuralSortCrossEntropyLoss", "neural_sort_cross_entropy", {"temperature": 1.0})
NeuralSortNDCGLoss = _of_v1("NeuralSortNDCGLoss", "neural_sort_ndcg", {"temperature": 1.0})
GumbelNeuralSortCrossEntropyLoss = _of_v1(
    "GumbelNeuralSortCrossEntropyLoss", "gumbel_neural_sort_cross_entropy", {"temperature": 1.0, **_SAMPLES}
)
GumbelNeuralSortNDCGLoss = _of_v1(
    "GumbelNeuralSortNDCGLoss", "gumbel_neural_sort_ndcg", {"temperature": 1.0, **_SAMPLES}
)
MultiClassLoss = Facade(
    "MultiClassLoss",
    "categorical_cross_entropy",
    keras_loss,
    {
        "name": None,
        "num_classes": None,
        "temperature": 1.0,
        "ragged": False,
        "from_logits": False,
        "label_smoothing": 0.0,
    },
    {"reduction": "auto"},
    renamed={"num_classes": None},
    only={"temperature": 1.0, "ragged": False},
    translate=TRANSLATE,
    notes={"num_classes": "K is read off y_pred"},
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
    "circle_loss": CircleLoss,
    "poly_one_softmax_loss": PolyOneSoftmaxLoss,
    "neural_sort_cross_entropy_loss": NeuralSortCrossEntropyLoss,
    "neural_sort_ndcg_loss": NeuralSortNDCGLoss,
    "gumbel_neural_sort_cross_entropy_loss": GumbelNeuralSortCrossEntropyLoss,
    "gumbel_neural_sort_ndcg_loss": GumbelNeuralSortNDCGLoss,
    # TF-Ranking has no keys for these.
    "click_em_loss": ClickEMLoss,
    "mixture_em_loss": MixtureEMLoss,
    "multi_class_loss": MultiClassLoss,
}


class RankingLossKey:
    """The keys of TF-Ranking's losses, those of its Keras API and those of v1 together."""

    PAIRWISE_HINGE_LOSS = "pairwise_hinge_loss"
    PAIRWISE_LOGISTIC_LOSS = "pairwise_logistic_loss"
    PAIRWISE_SOFT_ZERO_ONE_LOSS = "pairwise_soft_zero_one_loss"
    PAIRWISE_MSE_LOSS = "pairwise_mse_loss"
    YETI_LOGISTIC_LOSS = "yeti_logistic_loss"
    SOFTMAX_LOSS = "softmax_loss"
    CALIBRATED_SOFTMAX_LOSS = "calibrated_softmax_loss"
    UNIQUE_SOFTMAX_LOSS = "unique_softmax_loss"
    SIGMOID_CROSS_ENTROPY_LOSS = "sigmoid_cross_entropy_loss"
    MEAN_SQUARED_LOSS = "mean_squared_loss"
    ORDINAL_LOSS = "ordinal_loss"
    LIST_MLE_LOSS = "list_mle_loss"
    APPROX_NDCG_LOSS = "approx_ndcg_loss"
    APPROX_MRR_LOSS = "approx_mrr_loss"
    GUMBEL_APPROX_NDCG_LOSS = "gumbel_approx_ndcg_loss"
    COUPLED_RANKDISTIL_LOSS = "coupled_rankdistil_loss"
    CIRCLE_LOSS = "circle_loss"
    POLY_ONE_SOFTMAX_LOSS = "poly_one_softmax_loss"
    NEURAL_SORT_CROSS_ENTROPY_LOSS = "neural_sort_cross_entropy_loss"
    NEURAL_SORT_NDCG_LOSS = "neural_sort_ndcg_loss"
    GUMBEL_NEURAL_SORT_CROSS_ENTROPY_LOSS = "gumbel_neural_sort_cross_entropy_loss"
    GUMBEL_NEURAL_SORT_NDCG_LOSS = "gumbel_neural_sort_ndcg_loss"

    @classmethod
    def all_keys(cls) -> list[str]:
        """Every key."""
        return [value for name, value in vars(cls).items() if name.isupper()]


def facade_of(loss: Any) -> Facade:
    """The class of TF-Ranking's key; `UserError` for an unknown one."""
    if loss not in LOSSES:
        raise UserError(unknown_name("TF-Ranking loss", loss, sorted(LOSSES)))
    return LOSSES[loss]


def get(loss: str, reduction: Any = "auto", lambda_weight: Any = None, name: str | None = None, **kwargs: Any) -> Any:
    """The Keras loss of TF-Ranking's key. A lambda weight that the loss cannot use is an error, not ignored.

    >>> get("approx_ndcg_loss", temperature=0.5).loss.key
    'approx_ndcg'

    Raises:
        ValueError: for a key or parameter that TF-Ranking does not have.
    """
    if lambda_weight is not None:
        kwargs["lambda_weight"] = lambda_weight
    return facade_of(loss)(reduction=reduction, name=name, **kwargs)
