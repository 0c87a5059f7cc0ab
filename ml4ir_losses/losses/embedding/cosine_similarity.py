"""Regression of the cosine of two texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.losses.embedding.base import EmbeddingLossBase, labelled_pairs, row_values
from ml4ir_losses.ops.similarity import absolute, paired_cosine

ErrorFunction = Literal["mse", "mae", "huber"] | Callable[..., Tensor]

Transformation = Literal["identity", "sigmoid", "tanh", "relu"] | Callable[..., Tensor]


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
    cosine = _named(_TRANSFORMS, cos_score_transformation or "identity")(paired_cosine(a, b))
    loss = _named(_LOSSES, loss_fct)
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

_TRANSFORMS: dict[str, Callable[..., Tensor]] = {
    "identity": lambda x: x,
    "sigmoid": lambda x: ops.sigmoid(x),  # `ops.sigmoid` itself would import the backend here
    "tanh": lambda x: ops.tanh(x),
    "relu": lambda x: ops.relu(x),
}


def _named(functions: dict[str, Callable[..., Tensor]], spec: str | Callable[..., Tensor]) -> Callable[..., Tensor]:
    return functions[spec] if isinstance(spec, str) else spec


@register_loss("cosine_similarity")
class CosineSimilarityLoss(EmbeddingLossBase):
    r"""Error of the cosine of two texts against a target similarity.

    $$\ell\big(y,\ f(\cos(u, v))\big)$$

    y_pred [B, 2, D]; y_true [B], the target of f(cosine). In units of ℓ.

    Args:
        loss_fct: ℓ: `mse`, `mae`, `huber` (quadratic up to an error of 1), or in Python a function of
            (y_true, y_pred), [B, 1] each, registered with Keras.
        cos_score_transformation: f: None or `identity`, `sigmoid`, `tanh`, `relu`, or in Python a function registered
            with Keras.

    Raises:
        ValueError: for shapes that do not fit.

    Source: Reimers, Gurevych, "Sentence-BERT: sentence embeddings using Siamese BERT-networks" (2019).
    """

    function = staticmethod(cosine_similarity)
    columns = (2, 2)
    labels = "number"
