"""Final activations that know the mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.ops import as_float, as_mask, lowest, softmax_of_valid, where_finite


def masked_sigmoid(logits: Tensor, mask: Tensor | None = None) -> Tensor:
    """σ(logit); padding gets 0."""
    logits = as_float(logits)
    valid = as_mask(mask, logits)
    return ops.where(valid, ops.sigmoid(ops.where(valid, logits, 0.0)), 0.0)


def masked_softmax(logits: Tensor, mask: Tensor | None = None) -> Tensor:
    """Softmax over the valid documents of each query; padding gets 0, and so does a query with nothing valid."""
    logits = as_float(logits)
    return softmax_of_valid(logits, as_mask(mask, logits))


def masked_identity(logits: Tensor, mask: Tensor | None = None) -> Tensor:
    """The logit itself; padding gets the lowest score."""
    logits = as_float(logits)
    return ops.where(as_mask(mask, logits), logits, 4 * lowest(logits))


def sum_of_sigmoids(logits: Tensor, mask: Tensor | None = None) -> Tensor:
    """Σ_k σ(logit_k) of logits [B, N, K], [B, N]; padding gets 0."""
    return _over_outputs(ops.sum, logits, mask)


def mean_of_sigmoids(logits: Tensor, mask: Tensor | None = None) -> Tensor:
    """The mean over m of σ(logit_m) of logits [B, N, M], [B, N]; padding gets 0."""
    return _over_outputs(ops.mean, logits, mask)


def sigmoid_of_relevance(logits: Tensor, mask: Tensor | None = None) -> Tensor:
    """σ of the second of two logits, [B, N, 2] to [B, N]; padding gets 0."""
    return masked_sigmoid(ops.convert_to_tensor(logits)[..., 1], mask)


def classes(logits: Tensor, mask: Tensor | None = None) -> Tensor:
    """The softmax of [B, K]; of [B, N, K] the expected class Σ_k k·softmax_k, [B, N], where padding gets 0."""
    logits = as_float(logits)
    if len(logits.shape) == 2:
        return masked_softmax(logits, mask)
    valid = as_mask(mask, logits[..., 0])
    share = ops.softmax(ops.where(ops.expand_dims(valid, -1), logits, 0.0), axis=-1)
    return ops.where(valid, ops.sum(share * ops.arange(logits.shape[-1], dtype=share.dtype), axis=-1), 0.0)


def _over_outputs(reduce: Callable[..., Tensor], logits: Tensor, mask: Tensor | None) -> Tensor:
    logits = as_float(logits)
    logits = ops.expand_dims(logits, -1) if len(logits.shape) == 2 else logits  # one output is [B, N]
    valid = as_mask(mask, logits[..., 0])
    return ops.where(valid, reduce(ops.sigmoid(ops.where(ops.expand_dims(valid, -1), logits, 0.0)), axis=-1), 0.0)


def sigmoid_logits(scores: Tensor) -> Tensor:
    """The logits of σ-activated scores; exact 0 and 1 count as the nearest number that has a finite logit."""

    def logit(p: Tensor) -> Tensor:
        return ops.log(ops.maximum(p, 2.0**-126)) - ops.log(ops.maximum(1.0 - p, 2.0**-24))

    return where_finite(logit, as_float(scores), 0.5)


def softmax_logits(scores: Tensor) -> Tensor:
    """Logits of softmax-activated scores: their log, floored at the smallest normal float32."""
    return where_finite(lambda p: ops.log(ops.maximum(p, 2.0**-126)), as_float(scores), 0.5)


ACTIVATIONS = {
    "sigmoid": masked_sigmoid,
    "softmax": masked_softmax,
    "identity": masked_identity,
    "sum_of_sigmoids": sum_of_sigmoids,
    "mean_of_sigmoids": mean_of_sigmoids,
    "sigmoid_of_relevance": sigmoid_of_relevance,
    "classes": classes,
}
INVERSES = {"sigmoid": sigmoid_logits, "softmax": softmax_logits, "classes": softmax_logits}


@keras.saving.register_keras_serializable("ml4ir_losses")
class MaskedActivation(keras.layers.Layer):  # type: ignore[misc]
    """Final activation of a relevance model, computed in float32 whatever the precision policy.

    The mask is passed as `valid`: Keras would attach an argument called `mask` to the output and multiply the loss by
    it a second time.
    """

    def __init__(self, activation: str, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.activation = activation
        self.supports_masking = True

    def call(self, logits: Tensor, valid: Tensor | None = None) -> Tensor:
        return ACTIVATIONS[self.activation](logits, valid)

    def compute_mask(self, *args: Any, **kwargs: Any) -> None:
        """None: the output has no mask."""

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "activation": self.activation}
