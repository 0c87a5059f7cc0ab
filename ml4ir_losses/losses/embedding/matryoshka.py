"""Matryoshka: a loss on several numbers of leading dimensions of the embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from annotated_types import MinLen

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import Allowed, NonNegative, PositiveInt, Seed
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.core.shapes import Shape
from ml4ir_losses.losses.embedding.base import row_mask
from ml4ir_losses.losses.embedding.wrappers import EmbeddingWrapper, PartsPerStep, chosen_parts
from ml4ir_losses.losses.factory import LossSpec, get_loss
from ml4ir_losses.ops import as_float
from ml4ir_losses.ops.replicas import replica_count
from ml4ir_losses.ops.similarity import unit_vectors

Dims = Annotated[Sequence[PositiveInt], MinLen(1), Allowed("a list of whole numbers of at least 1")]

Weights = Annotated[Sequence[NonNegative], Allowed("a list of numbers of at least 0")]


def matryoshka(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    loss: LossSpec,
    dims: Dims,
    weights: Weights | None = None,
    n_dims_per_step: PartsPerStep = -1,
    seed: Seed = None,
) -> Tensor:
    """Per-row values of a loss, summed over several numbers of leading dimensions, [B]: see `MatryoshkaLoss`."""
    inner: Any = get_loss(loss)
    embeddings, labels = as_float(embeddings), ops.convert_to_tensor(labels)
    valid = row_mask(mask, embeddings)
    embeddings = ops.where(ops.reshape(valid, (-1, *[1] * (len(embeddings.shape) - 1))), embeddings, 0.0)
    zeros = ops.zeros_like(valid, dtype=embeddings.dtype)
    factors = [1.0] * len(dims) if weights is None else weights

    def value(size: int, factor: float) -> Tensor:
        target = labels[..., :size] if inner.labels_share_dimensions else labels
        return factor * inner.per_query(target, unit_vectors(embeddings[..., :size]), item_weight, mask)

    total = zeros
    for chosen, size, factor in zip(chosen_parts(len(dims), n_dims_per_step, seed), dims, factors, strict=True):
        total = total + _value_if(chosen, lambda size=size, factor=factor: value(size, factor), zeros)
    return total


def _value_if(chosen: Any, value: Any, otherwise: Tensor) -> Tensor:
    if chosen is True:
        return value()
    if replica_count() > 1:  # replicas cannot exchange rows in a branch
        return ops.where(chosen, value(), otherwise)
    return ops.cond(chosen, value, lambda: otherwise)


@register_loss("matryoshka")
class MatryoshkaLoss(EmbeddingWrapper):
    r"""Matryoshka: the sum of a loss on the first d dimensions of the embeddings, for several d.

    $$\sum_d v_d\, L\big(x_{1..d} / \lVert x_{1..d}\rVert\big)$$

    Embeddings are truncated to d and normalised to unit length, also at d = D; the labels of `embedding_mse`, a
    teacher's embeddings, are only truncated. Labels and units are those of `loss`; y_pred [B, C, D] or [B, D].

    Args:
        loss: L, the key or `{key: ..., <parameters>}` of an embedding loss.
        dims: the sizes d, from 1 to D.
        weights: v_d, one for each of `dims`; None: 1.
        n_dims_per_step: number of `dims` that each step samples; below 1: all.
        seed: equal seeds give equal sequences of draws.
        min_label: no effect.

    Raises:
        ValueError: for sizes beyond D, another number of weights than `dims`, and what `loss` raises.

    Source: Kusupati et al., "Matryoshka representation learning" (2022).
    """

    function = staticmethod(matryoshka)
    columns = (1, None)

    def __init__(self, *args: str, **params: Any) -> None:
        super().__init__(*args, **params)
        _check_dims(self.key, self.params["dims"], self.params["weights"])

    @property
    def samples(self) -> bool:
        some: int = self.params["n_dims_per_step"]
        return 0 < some < len(self.params["dims"])

    def check_shapes(self, y_true: Shape, y_pred: Shape) -> None:
        super().check_shapes(y_true, y_pred)
        size, most = (y_pred[-1] if y_pred else None), max(self.params["dims"])
        if size is not None and most > size:
            raise UserError(f"`dims` of {self.key!r} must be at most D = {size}, by y_pred. Received: {most}.")
        self.inner.check_shapes(y_true, y_pred)


def _check_dims(key: str, dims: Sequence[int], weights: Sequence[float] | None) -> None:
    if weights is not None and len(weights) != len(dims):
        raise UserError(
            f"`weights` of {key!r} must hold one number for each of `dims`: {len(dims)}. Received: weights={weights!r}."
        )
