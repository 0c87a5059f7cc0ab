"""Keras models whose large weights are int8."""

from __future__ import annotations

from typing import Any

from keras import layers

from ml4ir_losses.model.sparse_layers import SpladeEncoder

QUANTIZED = (layers.Dense, layers.EinsumDense, layers.Embedding)
SMALLEST = 1_024
"""The number of weights from which a layer is quantised: below, precision would be lost and nothing gained."""


def quantized_copy(model: Any, mode: str = "int8") -> Any:
    """A copy of a model with quantised dense layers and embeddings; word embeddings that splade reads stay floats."""
    copy = type(model).from_config(model.get_config())
    copy.set_weights(model.get_weights())
    found = copy._flatten_layers()
    shared = {id(layer.encoder.word_embeddings) for layer in found if isinstance(layer, SpladeEncoder)}
    for layer in found:
        fits = isinstance(layer, QUANTIZED) and layer.built and layer.count_params() >= SMALLEST
        if fits and not shared.intersection(map(id, layer.weights)):
            layer.quantize(mode, type_check=False)
    return copy
