"""Keras' `sample_weight`, split by its shape."""

from __future__ import annotations

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.shapes import Shape, same_shape


def split_weights(weight: Tensor | None, labels_shape: Shape) -> tuple[Tensor | None, Tensor | None]:
    """Keras' sample_weight as (query weight [B] or scalar, item weight [B, N]); `UserError` for another shape."""
    if weight is None:
        return None, None
    weight = ops.convert_to_tensor(weight)
    shape = weight.shape
    if getattr(shape, "rank", 0) is None:
        raise UserError(
            "The rank of `sample_weight` is unknown: TensorFlow reuses the graph of a model for weights of another "
            "rank. Use weights of one rank with a compiled model, or compile it again in between."
        )
    rows = labels_shape[:1]
    if len(shape) == 0 or (len(shape) == 1 and same_shape(shape, rows)):
        return weight, None
    if len(shape) == 2 and shape[1] == 1 and same_shape(shape[:1], rows):
        return ops.squeeze(weight, axis=-1), None
    if len(shape) == 2 and len(labels_shape) >= 2 and same_shape(shape, labels_shape[:2]):
        return None, weight
    raise UserError(
        "`sample_weight` must be a scalar, [B] or [B, 1] per query, or [B, N] per document, "
        f"for labels of shape {tuple(labels_shape)}. Received: shape {tuple(shape)}."
    )
