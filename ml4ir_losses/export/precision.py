"""Copies of models in another precision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras import layers

from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.model.sparse_layers import SpladeEncoder

QUANTIZED = (layers.Dense, layers.EinsumDense, layers.Embedding)
SMALLEST = 1_024
"""The number of weights from which a layer is quantised: below, precision would be lost and nothing gained."""


def in_float32(model: Any) -> Any:
    """The model, or a copy that computes in float32: no two runtimes round half precision alike."""
    precision = getattr(model, "precision", "float32")
    if precision == "float32":
        return model
    LOGGER.info("the model computes in %s, its export in float32, as its weights are", precision)
    return _copy(model, _with_float32(model.get_config(), precision))


def quantized_copy(model: Any, mode: str = "int8") -> Any:
    """A copy of a model with quantised dense layers and embeddings; word embeddings that splade reads stay floats."""
    copy = _copy(model, model.get_config())
    found = copy._flatten_layers()
    shared = {id(layer.encoder.word_embeddings) for layer in found if isinstance(layer, SpladeEncoder)}
    for layer in found:
        fits = isinstance(layer, QUANTIZED) and layer.built and layer.count_params() >= SMALLEST
        if fits and not shared.intersection(map(id, layer.weights)):
            layer.quantize(mode, type_check=False)
    return copy


def _copy(model: Any, config: Mapping[str, Any]) -> Any:
    copy = type(model).from_config(config)
    copy.set_weights(model.get_weights())
    return copy


def _with_float32(config: Any, precision: str) -> Any:
    """The config with float32 in the place of a precision, in the model and in the policies of its layers."""
    if isinstance(config, Mapping):
        return {
            key: "float32"
            if key in ("precision", "name", "dtype") and value == precision
            else _with_float32(value, precision)
            for key, value in config.items()
        }
    return [_with_float32(value, precision) for value in config] if isinstance(config, (list, tuple)) else config
