"""Regression of the cosine of two texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import PlainValidator, WithJsonSchema

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.losses.activation_functions import (
    ACTIVATION_FUNCTIONS,
    activation_function,
    check_activation_function,
)
from ml4ir_losses.losses.embedding.base import EmbeddingLossBase, labelled_pairs, row_values
from ml4ir_losses.ops.similarity import absolute, paired_cosine

ErrorFunction = Literal["mse", "mae", "huber"] | Callable[..., Tensor]


def _check_transformation(value: str | Callable[..., Tensor]) -> str | Callable[..., Tensor]:
    """The value itself; `UserError` unless it is a function, `identity` or the name of an activation."""
    if callable(value) or value == "identity":
        return value
    return check_activation_function(value, "cos_score_transformation")


Transformation = Annotated[
    str | Callable[..., Tensor],
    PlainValidator(_check_transformation),
    WithJsonSchema({"type": "string", "examples": ["identity", *ACTIVATION_FUNCTIONS]}),
]


def cosine_similarity(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    loss_fct: ErrorFunction = "mse",
    cos_score_transformation: Transformation | None = None,
) -> Tensor:
    """Per-row values of the error of the cosine, [B]: see `CosineSimilarityLoss`."""
    y, (a, b), valid = labelled_pairs(labels, embeddings, mask)
    cosine, transformation = paired_cosine(a, b), cos_score_transformation or "identity"
    if transformation != "identity":
        cosine = (activation_function(transformation) if isinstance(transformation, str) else transformation)(cosine)
    loss = _LOSSES[loss_fct] if isinstance(loss_fct, str) else loss_fct
    terms = ops.reshape(loss(y[:, None], cosine[:, None]), (-1,))  # Keras' functions average over the last axis
    return row_values(terms, valid, item_weight)


def _squared(y: Tensor, x: Tensor) -> Tensor:
    return ops.square(x - y)


def _absolute_error(y: Tensor, x: Tensor) -> Tensor:
    return absolute(x - y)


def _huber(y: Tensor, x: Tensor) -> Tensor:
    error = absolute(x - y)
    return ops.where(error <= 1, 0.5 * ops.square(error), error - 0.5)


_LOSSES: dict[str, Callable[..., Tensor]] = {"mse": _squared, "mae": _absolute_error, "huber": _huber}


@register_loss("cosine_similarity")
class CosineSimilarityLoss(EmbeddingLossBase):
    r"""Error of the cosine of two texts against a target similarity.

    $$\ell\big(y,\ f(\cos(u, v))\big)$$

    y_pred [B, 2, D]; y_true [B], the target of f(cosine). In units of ℓ.

    Args:
        loss_fct: ℓ: `mse`, `mae`, `huber` (quadratic up to an error of 1), or in Python a function of
            (y_true, y_pred), [B, 1] each, registered with Keras.
        cos_score_transformation: f: None or `identity`, an elementwise activation of Keras by name (`sigmoid`, `gelu`),
            or in Python a function registered with Keras.

    Raises:
        ValueError: for shapes that do not fit.

    Source: Reimers, Gurevych, "Sentence-BERT: sentence embeddings using Siamese BERT-networks" (2019).
    """

    function = staticmethod(cosine_similarity)
    columns = (2, 2)
    labels = "number"
