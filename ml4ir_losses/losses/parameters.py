"""Checks of loss parameters by their catalogue-wide names."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from ml4ir_losses.core.errors import (
    UserError,
    check_choice,
    check_count,
    check_flag,
    check_fraction,
    check_not_negative,
    check_number,
    check_positive,
    check_whole,
    did_you_mean,
)
from ml4ir_losses.core.lazy import Tensor, keras
from ml4ir_losses.ops import NORMALIZATIONS
from ml4ir_losses.ops.similarity import DISTANCES, SIMILARITIES

ACTIVATION_FUNCTIONS = ("sigmoid", "tanh", "relu", "softplus", "linear")


def activation_function(name: str) -> Callable[[Tensor], Tensor]:
    """The elementwise function of a name: one of Keras', or one that is registered with Keras; `UserError` else."""
    if name in ACTIVATION_FUNCTIONS:
        return getattr(keras.activations, name)  # type: ignore[no-any-return]
    function = keras.saving.get_registered_object(name) if isinstance(name, str) else None
    if not callable(function):
        raise UserError(
            f"`activation_fn` must be one of {', '.join(ACTIVATION_FUNCTIONS)}, or the name of a function registered "
            f"with Keras ('package>name'). Received: activation_fn={name!r}."
            + (did_you_mean(name, ACTIVATION_FUNCTIONS) if isinstance(name, str) else "")
        )
    return function  # type: ignore[no-any-return]


def _optional(check: Callable[..., None]) -> Callable[..., None]:
    def checked(**arguments: Any) -> None:
        check(**{name: value for name, value in arguments.items() if value is not None})

    return checked


def _activation_fn(**arguments: str) -> None:
    for name in arguments.values():
        if not isinstance(name, str) or name not in ACTIVATION_FUNCTIONS:
            activation_function(name)


def _share(**arguments: float) -> None:
    for name, value in arguments.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
            raise UserError(f"`{name}` must be a number from 0 to below 1. Received: {name}={value!r}.")


def _whole(**arguments: int) -> None:
    for name, value in arguments.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise UserError(f"`{name}` must be None or a whole number. Received: {name}={value!r}.")


def _seed(**arguments: int) -> None:
    for name, value in arguments.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise UserError(f"`{name}` must be None or a whole number of at least 0. Received: {name}={value!r}.")


def _class_weight(**arguments: Any) -> None:
    for name, value in arguments.items():
        if (
            not isinstance(value, Sequence)
            or isinstance(value, str)
            or not all(isinstance(w, (int, float)) and not isinstance(w, bool) and 0 <= w < math.inf for w in value)
        ):
            raise UserError(
                f"`{name}` must be a list of one weight of at least 0 per class. Received: {name}={value!r}."
            )


def _lambda_weight(**arguments: Any) -> None:
    from ml4ir_losses.losses.lambda_weights import get_lambda_weight

    for value in arguments.values():
        if value is not None:
            get_lambda_weight(value)


def _weighting_scheme(**arguments: Any) -> None:
    from ml4ir_losses.losses.pairwise.lambda_loss import get_weighting_scheme

    for value in arguments.values():
        get_weighting_scheme(value)


def _choice(*allowed: str) -> Callable[..., None]:
    return partial(check_choice, allowed)


def _function_or(*names: str) -> Callable[..., None]:
    def checked(**arguments: Any) -> None:
        check_choice(names, **{name: value for name, value in arguments.items() if not callable(value)})

    return checked


def _inner_loss(**arguments: Any) -> None:
    from ml4ir_losses.losses.factory import get_loss

    for value in arguments.values():
        get_loss(value)


def _dims(**arguments: Any) -> None:
    for name, value in arguments.items():
        if not isinstance(value, (list, tuple)) or not value or not all(type(v) is int and v >= 1 for v in value):
            raise UserError(f"`{name}` must be a list of whole numbers of at least 1. Received: {name}={value!r}.")


def _numbers(**arguments: Any) -> None:
    for name, value in arguments.items():
        if not isinstance(value, (list, tuple)):
            raise UserError(f"`{name}` must be a list of numbers. Received: {name}={value!r}.")
        for number in value:
            check_not_negative(**{name: number})


def _step_count(**arguments: int) -> None:
    for name, value in arguments.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise UserError(f"`{name}` must be a whole number; below 1 it is all. Received: {name}={value!r}.")


CHECKS: dict[str, Callable[..., None]] = {
    "temperature": check_positive,
    "normalization": _choice(*NORMALIZATIONS),
    "min_label": _optional(check_number),
    "activation_fn": _optional(_activation_fn),
    "pos_weight": _optional(check_not_negative),
    "respect_input_order": check_flag,
    "normalize_labels": check_flag,
    "label_smoothing": _share,
    "class_weight": _optional(_class_weight),
    "ignore_index": _optional(_whole),
    "seed": _optional(_seed),
    "lambda_weight": _lambda_weight,
    "weighting_scheme": _weighting_scheme,
    "reduction_log": _choice("binary", "natural"),
    "k": check_count,
    "topk": check_count,
    "sigma": check_positive,
    "margin": check_not_negative,
    "base_margin": check_positive,
    "tau": check_fraction,
    "squared": check_flag,
    "sample_size": partial(check_whole, 1),
    "memory_size": partial(check_whole, 1),
    "n_samples": partial(check_whole, 1),
    "num_negatives": check_count,
    "max_iter": partial(check_whole, 1),
    "no_of_levels": partial(check_whole, 1),
    "ordinal_size": partial(check_whole, 1),
    "gumbel_temperature": check_positive,
    "label_temperature": check_positive,
    "gamma": check_positive,
    "alpha": check_positive,
    "beta": check_not_negative,
    "epsilon": check_not_negative,
    "eps": check_not_negative,
    "scale": check_positive,
    "virtual_label": check_not_negative,
    "exam_loss_weight": check_not_negative,
    "rel_loss_weight": check_not_negative,
    "use_fraction_label": check_flag,
    "stochastic": check_flag,
    "do_fine_small_difference": check_flag,
    "as_shipped": check_flag,
    "distance": _choice(*DISTANCES),
    "similarity": _choice(*SIMILARITIES),
    "size_average": check_flag,
    "loss_fct": _function_or("mse", "mae", "huber"),
    "cos_score_transformation": _optional(_function_or("identity", "sigmoid", "tanh", "relu")),
    "softmax_scale": check_positive,
    "num_labels": partial(check_whole, 1),
    "concatenation_sent_rep": check_flag,
    "concatenation_sent_difference": check_flag,
    "concatenation_sent_multiplication": check_flag,
    "gather_across_devices": check_flag,
    "mini_batch_size": partial(check_whole, 1),
    "show_progress_bar": check_flag,
    "positive_margin": check_number,
    "negative_margin": check_number,
    "margin_strategy": _choice("absolute", "relative"),
    "contrast_anchors": check_flag,
    "contrast_positives": check_flag,
    "base": check_number,
    "loss": _inner_loss,
    "dims": _dims,
    "weights": _optional(_numbers),
    "n_dims_per_step": _step_count,
    "n_layers_per_step": _step_count,
    "last_layer_weight": check_not_negative,
    "prior_layers_weight": check_not_negative,
    "kl_div_weight": check_not_negative,
    "kl_temperature": check_not_negative,
    "layer_decay": _choice("none", "linear", "log"),
    "tie_encoder_decoder": check_flag,
    "pad_token_id": partial(check_whole, 0),
    "threshold": check_count,
    "document_regularizer_weight": check_not_negative,
    "query_regularizer_weight": _optional(check_not_negative),
    "document_regularizer_threshold": check_count,
    "query_regularizer_threshold": check_count,
    "use_document_regularizer_only": check_flag,
}


def check_lambda_weight(key: str, spec: Any, families: tuple[str, ...]) -> None:
    """Raises `UserError` unless the lambda weight is of a family that the loss `key` can use."""
    from ml4ir_losses.core.registry import LAMBDA_WEIGHTS
    from ml4ir_losses.losses.lambda_weights import get_lambda_weight

    weight = get_lambda_weight(spec)
    if weight.family not in families:
        fitting = [e.key for e in LAMBDA_WEIGHTS if getattr(e.target, "family", "") in families]
        raise UserError(
            f"`lambda_weight` of {key!r} must be one of {', '.join(fitting) or 'none'}. "
            f"Received: {weight.key or type(weight).__name__!r}."
        )


def to_config(value: Any) -> Any:
    """A parameter as plain data: objects by their `get_config`, registered functions as Keras writes them."""
    if hasattr(value, "get_config"):
        return value.get_config()
    if isinstance(value, Mapping):
        return {name: to_config(inner) for name, inner in value.items()}
    if not callable(value):
        return value
    name = getattr(value, "__name__", None)
    if name is None or keras.saving.get_registered_name(value) == name:
        raise UserError(
            f"{name or value!r} is a Python function that a saved model could not find again: decorate it with "
            "keras.saving.register_keras_serializable()."
        )
    return keras.saving.serialize_keras_object(value)


def from_config(value: Any) -> Any:
    """The parameter that `to_config` wrote."""
    if not isinstance(value, Mapping) or "class_name" not in value:
        return value
    try:
        return keras.saving.deserialize_keras_object(value)
    except (TypeError, ValueError) as error:
        name = value.get("registered_name") or value["class_name"]
        raise UserError(
            f"No registered Python function or class {name!r}: import the module that decorates it with "
            "keras.saving.register_keras_serializable() first."
        ) from error


def check_parameters(params: Mapping[str, Any]) -> None:
    """Raises `UserError` for the first parameter whose value is not allowed."""
    for name, value in params.items():
        if name in CHECKS:
            CHECKS[name](**{name: value})
