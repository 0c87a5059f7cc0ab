"""sentence-transformers' cross-encoder losses by their class names, as Keras losses on scores.

The models' scores come as y_pred [B, N], labels as y_true [B, N], where a label below `min_label` is padding (the
peer has lists of their own length instead): for negative labels set `min_label`. `model` is ignored. Pairwise losses
average over all pairs of the batch and are in bits; ListMLE and PListMLE take the input order as the ideal one.
Pointwise losses also take the peer's form: y_true [B] with y_pred [B] or [B, 1].

The names are factories with the peer's positional order. Where the peer hands `reduction` on to torch it means what
it means there: `sum` and `none` have no divisor. It is an error where ours cannot give torch's number.
"""

from __future__ import annotations

from typing import Any

from ml4ir_losses.compat.facade import Facade, function_name, keras_loss
from ml4ir_losses.core.errors import UserError

_NO_EFFECT = dict.fromkeys(("model", "eps", "mini_batch_size", "show_progress_bar"))
_REDUCTIONS = {"mean": "sum_over_batch_size"}
_TRUE_NAMES = {"Identity": None, "Sigmoid": "sigmoid", "Tanh": "tanh", "ReLU": "relu", "Softplus": "softplus"}
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
        return _TRUE_NAMES.get(value, value) if value else None
    name = getattr(value, "__name__", type(value).__name__)
    return _TRUE_NAMES.get(name, name)


def _numbers(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


_TRANSLATE = {
    "activation_fn": _activation,
    "weighting_scheme": lambda value: "none" if value is None else function_name(_SCHEMES)(value),
    "weight": _numbers,
    "pos_weight": _numbers,
    "scale": lambda value: value or 1.0,  # the peer does not scale where the scale is 0 or None
    "reduction": function_name(_REDUCTIONS),
    "k": lambda value: value or None,
}
_KERAS = {"reduction": "sum_over_batch_size", "name": None}
_TORCH_REDUCTIONS = {
    "margin_mse": ("mean", "sum"),  # torch's "none" is [B, n], a Keras loss is [B]
    "categorical_cross_entropy": ("mean",),  # ours always divides by the weight of the rows that count
}


def _torch_loss(key: str, params: dict[str, Any]) -> Any:
    """The Keras loss under torch's `reduction`; the `normalization` None is the one that gives torch's numbers."""
    reduction = {"sum_over_batch_size": "mean", None: "none"}.get(params["reduction"], params["reduction"])
    allowed = _TORCH_REDUCTIONS.get(key, ("mean", "sum", "none"))
    if reduction not in allowed:
        raise UserError(
            f"`reduction` of {key!r} must be {' or '.join(map(repr, allowed))}: torch's number for another cannot be "
            f"had here. Received: reduction={reduction!r}."
        )
    if "normalization" in params and params["normalization"] is None:
        params["normalization"] = "batch" if reduction == "mean" else "sum"
    return keras_loss(key, params)


def _loss(
    name: str,
    key: str,
    ours: dict[str, Any],
    renamed: dict[str, str | None] | None = None,
    *,
    only: dict[str, Any] | None = None,
    notes: dict[str, str] | None = None,
    **parameters: Any,
) -> Facade:
    parameters = {"model": None, **parameters}
    extra = {n: default for n, default in {**_KERAS, **ours}.items() if n not in parameters}
    return Facade(
        name,
        key,
        _torch_loss if "reduction" in parameters else keras_loss,
        parameters,
        extra,
        renamed={**_NO_EFFECT, **(renamed or {})},
        only=only or {},
        translate=_TRANSLATE,
        notes=notes or {},
        doc=f"sentence-transformers' cross-encoder {name}.",
    )


_PAIRS = {"normalization": "batch", "min_label": 0.0}
_LIST = {"min_label": 0.0}
_ALL = {"normalization": None, "min_label": None}

BinaryCrossEntropyLoss = _loss(
    "BinaryCrossEntropyLoss", "binary_cross_entropy", _ALL, activation_fn=None, pos_weight=None, reduction="mean"
)
CrossEntropyLoss = _loss(
    "CrossEntropyLoss",
    "categorical_cross_entropy",
    {},
    {"weight": "class_weight"},
    activation_fn=None,
    weight=None,
    ignore_index=-100,
    label_smoothing=0.0,
    reduction="mean",
)
MSELoss = _loss("MSELoss", "mean_squared_error", _ALL, activation_fn=None, reduction="mean")
MarginMSELoss = _loss("MarginMSELoss", "margin_mse", {"normalization": None}, activation_fn=None, reduction="mean")
LambdaLoss = _loss(
    "LambdaLoss",
    "lambda_loss",
    _PAIRS,
    weighting_scheme={"key": "ndcg_loss2pp", "mu": 10.0},
    k=None,
    sigma=1.0,
    eps=1e-10,
    reduction_log="binary",
    activation_fn=None,
    mini_batch_size=None,
)
RankNetLoss = _loss(
    "RankNetLoss",
    "ranknet",
    _PAIRS,
    k=None,
    sigma=1.0,
    eps=1e-10,
    reduction_log="binary",
    activation_fn=None,
    mini_batch_size=None,
)
ListNetLoss = _loss("ListNetLoss", "listnet", _LIST, activation_fn=None, mini_batch_size=None)
ListMLELoss = _loss(
    "ListMLELoss", "list_mle", _LIST, activation_fn=None, mini_batch_size=None, respect_input_order=True
)


PListMLELoss = _loss(
    "PListMLELoss",
    "p_list_mle",
    _LIST,
    notes={"lambda_weight": "a `rank_discount_fn` gets 1-based ranks; None is plain ListMLE"},
    lambda_weight="p_list_mle",
    activation_fn=None,
    mini_batch_size=None,
    respect_input_order=True,
)
ADRMSELoss = _loss(
    "ADRMSELoss", "adr_mse", _LIST, only={"activation_fn": None}, alpha=1.0, activation_fn=None, mini_batch_size=None
)
MultipleNegativesRankingLoss = _loss(
    "MultipleNegativesRankingLoss",
    "cross_encoder_multiple_negatives_ranking",
    {},
    num_negatives=4,
    scale=10,
    activation_fn="sigmoid",
)
CachedMultipleNegativesRankingLoss = _loss(
    "CachedMultipleNegativesRankingLoss",
    "cached_cross_encoder_multiple_negatives_ranking",
    {},
    num_negatives=4,
    scale=10.0,
    activation_fn="sigmoid",
    mini_batch_size=32,
    show_progress_bar=False,
)

_CLASSES = {
    **dict.fromkeys(
        (
            "BaseWeightingScheme",
            "NoWeightingScheme",
            "NDCGLoss1Scheme",
            "NDCGLoss2Scheme",
            "LambdaRankScheme",
            "NDCGLoss2PPScheme",
        ),
        "lambda_loss",
    ),
    "PListMLELambdaWeight": "lambda_weights",
}


def __getattr__(name: str) -> Any:
    """The weighting schemes, which are ours under the peer's names."""
    if name not in _CLASSES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    modules = (f"ml4ir_losses.losses.{_CLASSES[name]}", "ml4ir_losses.losses.listwise.softmax")
    for module in map(importlib.import_module, modules):
        if hasattr(module, name):
            return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
