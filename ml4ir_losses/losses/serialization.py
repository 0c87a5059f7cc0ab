"""Parameters of losses as plain data, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import keras


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
