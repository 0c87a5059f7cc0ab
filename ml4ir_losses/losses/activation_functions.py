"""Elementwise functions by name, such as the `activation_fn` that a loss applies to the logits first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import PlainValidator, WithJsonSchema

from ml4ir_losses.core.errors import UserError, did_you_mean
from ml4ir_losses.core.lazy import Tensor, keras

ACTIVATION_FUNCTIONS = (
    *("linear", "sigmoid", "tanh", "relu", "softplus", "gelu", "silu", "swish", "elu", "selu", "celu", "leaky_relu"),
    *("relu6", "mish", "softsign", "squareplus", "exponential", "log_sigmoid", "hard_sigmoid", "hard_tanh"),
    *("hard_silu", "hard_swish", "tanh_shrink", "soft_shrink", "hard_shrink", "sparse_plus", "sparse_sigmoid"),
)
"""The elementwise activations of Keras, by name."""


def activation_function(name: str, parameter: str = "activation_fn") -> Callable[[Tensor], Tensor]:
    """The elementwise function of a name: one of `ACTIVATION_FUNCTIONS`, or one that is registered with Keras.

    Raises:
        UserError: for another name.
    """
    if name in ACTIVATION_FUNCTIONS:
        return getattr(keras.activations, name)  # type: ignore[no-any-return]
    function = keras.saving.get_registered_object(name) if isinstance(name, str) else None
    if not callable(function):
        raise _unknown(name, parameter)
    return function  # type: ignore[no-any-return]


def check_activation_function(name: str, parameter: str = "activation_fn") -> str:
    """The name itself; `UserError` unless a function has it. Keras is imported for registered functions alone."""
    if not isinstance(name, str):
        raise _unknown(name, parameter)
    if name not in ACTIVATION_FUNCTIONS:
        activation_function(name, parameter)
    return name


def _unknown(name: object, parameter: str) -> UserError:
    hint = did_you_mean(name, ACTIVATION_FUNCTIONS) if isinstance(name, str) else ""
    return UserError(
        f"`{parameter}` must be one of {', '.join(ACTIVATION_FUNCTIONS)}, or the name of a function registered with "
        f"Keras ('package>name'). Received: {parameter}={name!r}.{hint}"
    )


ActivationFunction = Annotated[
    str,
    PlainValidator(check_activation_function),
    WithJsonSchema({"type": "string", "examples": list(ACTIVATION_FUNCTIONS)}),
]
