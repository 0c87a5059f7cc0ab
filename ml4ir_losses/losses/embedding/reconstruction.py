"""Losses of a sparse auto-encoder: how well its codes rebuild the embeddings, and a ranking loss of the codes."""

from __future__ import annotations

from typing import Any

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import NonNegative
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.core.shapes import Shape, differ, show
from ml4ir_losses.losses.embedding.base import EmbeddingLossBase, row_mask, row_values
from ml4ir_losses.losses.embedding.sparse import SPARSE_RANKING
from ml4ir_losses.losses.embedding.wrappers import EmbeddingWrapper
from ml4ir_losses.losses.factory import LossSpec, get_loss
from ml4ir_losses.ops import as_float, lowest
from ml4ir_losses.ops.replicas import gather_rows, sum_over_replicas

PARTS = 5  # parts [D] of a text before its code: the embedding and four reconstructions


def csr_reconstruction(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    beta: NonNegative = 1.0,
) -> Tensor:
    """Row values of the squared errors of reconstruction, [B]: see `CSRReconstructionLoss`. `labels` are not read."""
    parts = as_float(embeddings)
    valid = row_mask(mask, parts)
    parts = ops.where(valid[:, None, None, None], parts, 0.0)
    x, by_k, by_4k, by_dead, unbiased = (parts[:, :, part] for part in range(PARTS))
    residual = x - ops.stop_gradient(unbiased)
    auxiliary = _mean_square(by_dead - residual) / _spread(residual, valid)
    terms = _mean_square(x - by_k) + _mean_square(x - by_4k) / 8.0 + beta * auxiliary
    return row_values(ops.sum(terms, axis=1) / terms.shape[1], valid, item_weight)


def csr(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    loss: LossSpec = SPARSE_RANKING,
    beta: NonNegative = 0.1,
    gamma: NonNegative = 1.0,
) -> Tensor:
    """Row values of a loss of codes and of their reconstructions, [B]: see `CSRLoss`."""
    reconstruction = csr_reconstruction(labels, embeddings, mask, item_weight=item_weight, beta=beta)
    return reconstruction + gamma * get_loss(loss).per_query(labels, codes(embeddings), item_weight, mask)


def codes(parts: Tensor) -> Tensor:
    """The codes [..., m D] of parts [..., 5 + m, D]."""
    count, size = parts.shape[-2] - PARTS, parts.shape[-1]
    return ops.reshape(parts[..., PARTS:, :], (*ops.shape(parts)[:-2], count * size))


def _mean_square(error: Tensor) -> Tensor:
    return ops.sum(ops.square(error), axis=-1) / error.shape[-1]


def _spread(x: Tensor, valid: Tensor) -> Tensor:
    """Mean squared distance of the valid rows of [B, C, D] from their mean, [C]; 1 where all are equal.

    The rows are those of all replicas.
    """
    real = valid[:, None, None]
    count, total = sum_over_replicas((ops.sum(ops.cast(valid, x.dtype)), ops.sum(x, axis=0, keepdims=True)))
    count = ops.where(count > 0, count, 1.0)
    squares = _mean_square(ops.where(real, x - total / count, 0.0))
    spread = sum_over_replicas(ops.sum(squares, axis=0)) / count
    # The mean of equal rows may differ from them in its last digit, and 1 over a subnormal number is infinite.
    low = ops.min(ops.where(real, x, -lowest(x)), axis=0, keepdims=True)
    high = ops.max(ops.where(real, x, lowest(x)), axis=0, keepdims=True)
    (lows, highs), _ = gather_rows(low, high)
    all_equal = ops.all(ops.min(lows, axis=0) >= ops.max(highs, axis=0), axis=-1)
    return ops.where(ops.logical_or(all_equal, spread < 1e-37), 1.0, spread)


class _ReconstructionBase(EmbeddingLossBase):
    """A loss of [B, C, P, D], the outputs of a sparse auto-encoder."""

    reconstructs = True
    least = PARTS
    columns = (1, None)

    def check_shapes(self, y_true: Shape, y_pred: Shape) -> None:
        fits = len(y_pred) == 4 and y_pred[2] is not None and y_pred[2] >= self.least
        if not fits or not y_true or differ(y_true[0], y_pred[0]):
            raise UserError(
                f"{self.key!r} takes y_pred [B, C, P, D] with P of at least {self.least}, the outputs of the encoder "
                f"'csr', and y_true with B rows. Received: y_true {show(y_true)}, y_pred {show(y_pred)}."
            )


@register_loss("csr_reconstruction")
class CSRReconstructionLoss(_ReconstructionBase):
    r"""Squared error of embeddings that are rebuilt from sparse codes.

    $$\frac{1}{C}\sum_c \Big[\frac{|x - \hat x_k|^2}{D} + \frac{|x - \hat x_{4k}|^2}{8 D}
    + \beta\,\frac{|\hat x_a - (x - \bar x_k)|^2}{D\,v}\Big]$$

    y_pred [B, C, P, D] with P of at least 5 holds of each text: the embedding x; x̂_k and x̂_4k, rebuilt from the k and
    the 4k largest entries of the code; x̂_a, rebuilt from entries that are otherwise unused; x̄_k, which is x̂_k without
    its bias, and has no gradient. v is the mean squared distance of the rows' x - x̄_k from their mean, or 1 where all
    rows are equal. y_true is anything with B rows. In squared units of the embeddings. The encoder `csr` gives y_pred.

    Args:
        beta: weight of the last term.
        min_label: no effect.

    Raises:
        ValueError: for a y_pred of another shape.

    Source: Wen et al., "Beyond Matryoshka: revisiting sparse coding for adaptive representation" (2025).
    """

    function = staticmethod(csr_reconstruction)


@register_loss("csr")
class CSRLoss(EmbeddingWrapper, _ReconstructionBase):
    r"""`csr_reconstruction`, and a loss of the sparse codes.

    $$\mathrm{CSR}_\beta(x) + \gamma\,L(z)$$

    y_pred [B, C, 5 + m, D]: the five parts of `CSRReconstructionLoss`, then the code z of m D entries, D at a time.
    Labels and units are those of `loss`.

    Args:
        loss: L, the key or `{key: ..., <parameters>}` of an embedding loss; when left out
            `multiple_negatives_ranking` with scale 1 and `dot`.
        beta: weight of the last term of the reconstruction.
        gamma: γ, weight of L.
        min_label: no effect.

    Raises:
        ValueError: for a y_pred of another shape, a cached `loss`, and what `loss` raises.

    Source: Wen et al., "Beyond Matryoshka: revisiting sparse coding for adaptive representation" (2025).
    """

    function = staticmethod(csr)
    least = PARTS + 1

    def __init__(self, *args: str, **params: Any) -> None:
        super().__init__(*args, **params)
        if self.cached_batch_size is not None:
            # The second pass over a mini-batch would find other latents unused than the first.
            raise UserError(f"`loss` of {self.key!r} must not be a cached one. Received: {self.inner.key!r}.")

    def check_shapes(self, y_true: Shape, y_pred: Shape) -> None:
        _ReconstructionBase.check_shapes(self, y_true, y_pred)
        rows, size = y_pred[2:]
        size = None if rows is None or size is None else (rows - PARTS) * size
        self.inner.check_shapes(y_true, (*y_pred[:2], size))
