"""A model that was trained on several devices, on one."""

from __future__ import annotations

from typing import Any

import keras


def copy_on_one_device(model: Any) -> Any:
    """A new model with the weights, the optimizer's state and the random state of the model, outside of any scope."""
    plain = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(model))
    for variable, trained in zip(_state(plain), _state(model), strict=True):
        variable.assign(trained.numpy())
    return plain


def _state(model: Any) -> list[Any]:
    return [*model.trainable_variables, *model.non_trainable_variables, *model.optimizer.variables]
