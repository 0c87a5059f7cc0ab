"""Checks of loss parameters by their catalogue-wide names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ml4ir_losses.errors import UserError, check_choice, check_not_negative, check_number, check_positive
from ml4ir_losses.ops import NORMALIZATIONS

ACTIVATION_FUNCTIONS = ("sigmoid", "tanh", "relu", "softplus", "linear")


def _flag(**arguments: Any) -> None:
    for name, value in arguments.items():
        if not isinstance(value, bool):
            raise UserError(f"`{name}` must be true or false. Received: {name}={value!r}.")


def _optional(check: Callable[..., None]) -> Callable[..., None]:
    def checked(**arguments: Any) -> None:
        check(**{name: value for name, value in arguments.items() if value is not None})

    return checked


def _normalization(**arguments: str) -> None:
    check_choice(NORMALIZATIONS, **arguments)


def _activation_fn(**arguments: str) -> None:
    check_choice(ACTIVATION_FUNCTIONS, **arguments)


def _share(**arguments: float) -> None:
    for name, value in arguments.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
            raise UserError(f"`{name}` must be a number from 0 to below 1. Received: {name}={value!r}.")


def _whole(**arguments: int) -> None:
    for name, value in arguments.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise UserError(f"`{name}` must be a whole number or None. Received: {name}={value!r}.")


def _seed(**arguments: int) -> None:
    _whole(**arguments)
    check_not_negative(**arguments)


def _class_weight(**arguments: Any) -> None:
    for name, value in arguments.items():
        if (
            not isinstance(value, Sequence)
            or isinstance(value, str)
            or not all(isinstance(w, (int, float)) and w >= 0 for w in value)
        ):
            raise UserError(f"`{name}` must be a list of one weight of at least 0 per class. Received: {value!r}.")


CHECKS: dict[str, Callable[..., None]] = {
    "temperature": check_positive,
    "normalization": _normalization,
    "min_label": _optional(check_number),
    "activation_fn": _optional(_activation_fn),
    "pos_weight": _optional(check_not_negative),
    "respect_input_order": _flag,
    "normalize_labels": _flag,
    "label_smoothing": _share,
    "class_weight": _optional(_class_weight),
    "ignore_index": _optional(_whole),
    "seed": _optional(_seed),
}


def check_parameters(params: Mapping[str, Any]) -> None:
    """Raises `UserError` for the first parameter whose value is not allowed."""
    for name, value in params.items():
        if name in CHECKS:
            CHECKS[name](**{name: value})
